import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from stepladder.training import checkpoint, families, worker
from stepladder.training.course import Course
from stepladder.training.unfreezing import frozen
from tests.training import toy
from tests.training.test_worker import spec


@pytest.fixture(autouse=True)
def toy_family(monkeypatch):
    known = replace(
        families.FAMILIES["diffusion"], module="tests.training.toy", unfreeze=lambda p: p.diffusion.unfreeze
    )
    monkeypatch.setitem(families.FAMILIES, "diffusion", known)


def with_parts(folder, *parts, **training):
    made = json.loads((spec(folder, **training) / "spec.json").read_text())
    made["params"]["diffusion"]["unfreeze"] = list(parts)
    (folder / "spec.json").write_text(json.dumps(made))
    return folder


def weights(folder):
    return load_file(folder / "model" / "model.safetensors")


def test_parts_are_unfrozen_in_turn_at_equal_parts_of_the_first_half():
    held = [frozen(("a", "b"), step, 40) for step in range(40)]
    assert held == [("a", "b")] * 10 + [("b",)] * 10 + [()] * 20
    assert [len(frozen(("a", "b", "c"), step, 10)) for step in range(10)] == [3, 3, 2, 2, 1, 0, 0, 0, 0, 0]
    assert frozen((), 0, 10) == ()


def test_frozen_weights_stay_and_the_others_learn(tmp_path, monkeypatch):
    moved = {}

    class Watching(Course):
        def on_train_batch_start(self, trainer, pl_module, *given):
            super().on_train_batch_start(trainer, pl_module, *given)
            self.before = [p.detach().clone() for p in pl_module.model.parameters()]

        def on_train_batch_end(self, trainer, pl_module, *given):
            super().on_train_batch_end(trainer, pl_module, *given)
            named = zip(pl_module.model.named_parameters(), self.before, strict=True)
            moved[trainer.global_step - 1] = {name for (name, p), before in named if not torch.equal(p, before)}

    monkeypatch.setattr(worker, "Course", Watching)
    worker.train(with_parts(tmp_path / "a", "stem.weight", "head", weight_decay=0.1))
    everything = {"stem.weight", "stem.bias", "head.weight", "head.bias"}
    assert all(moved[step] == {"stem.bias"} for step in range(10)), "no gradient, and no weight decay either"
    assert all(moved[step] == {"stem.bias", "stem.weight"} for step in range(10, 20))
    assert all(moved[step] == everything for step in range(20, 39))


@pytest.mark.parametrize("die_at", [6, 14, 30])
def test_resumed_in_any_phase_it_ends_with_the_same_bits(tmp_path, monkeypatch, die_at):
    whole = with_parts(tmp_path / "whole", "stem", "head.weight", accumulate=2)
    worker.train(whole)
    broken = with_parts(tmp_path / "broken", "stem", "head.weight", accumulate=2)
    monkeypatch.setattr(checkpoint, "EVERY_SECONDS", 1e9)
    monkeypatch.setattr(toy, "DIE_AT", 2 * die_at)
    with pytest.raises(RuntimeError, match="killed by the test"):
        worker.train(broken)
    assert checkpoint.finished_steps(broken / "last.ckpt") == die_at
    monkeypatch.setattr(toy, "DIE_AT", -1)
    worker.train(broken)
    expected, got = weights(whole), weights(broken)
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    plain = with_parts(tmp_path / "plain", accumulate=2)
    worker.train(plain)
    assert not torch.equal(weights(plain)["stem.weight"], expected["stem.weight"])


def test_a_part_that_is_not_there_is_refused_before_training(tmp_path):
    folder = with_parts(tmp_path / "a", "stem", "head.weights")
    assert worker.main(folder) == 2
    said = (folder / "error.txt").read_text()
    assert (
        said
        == "unfreeze names 'head.weights', and the network has no such part; it has stem, head, and what is below them."
    )

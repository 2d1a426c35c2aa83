"""Early stopping, the best weights and the mean of the last ones, through the training process."""

import json

import pytest
import torch
from safetensors.torch import load_file

from stepladder.errors import UserError
from stepladder.params import build
from stepladder.training import checkpoint, worker
from tests.training import toy
from tests.training.test_worker import lines, spec, toy_family

__all__ = ["toy_family"]


def figures(folder):
    return json.loads((folder / "model" / "figures.json").read_text())


def weights(folder):
    return load_file(folder / "model" / "model.safetensors")


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


WORSE = {"schedule": "constant", "learning_rate": 0.5, "ema_half_life": 0.0, "warmup_steps": 0, "gradient_clip": 0.0}


def test_the_best_weights_are_exported_with_their_figures(tmp_path):
    folder = spec(tmp_path / "a", stop_on="loss", steps=60, validate_every=5, **WORSE)
    worker.train(folder)
    found = lines(folder, "validation/loss")
    best = min(loss for _, loss in found)
    assert found[-1][1] > best, "the last is not the best, or the test shows nothing"
    assert figures(folder)["validation/loss"] == pytest.approx(best)
    assert figures(folder)["best_step"] == next(step for step, loss in found if loss == best)
    again = spec(tmp_path / "b", stop_on="none", steps=figures(folder)["best_step"], validate_every=5, **WORSE)
    worker.train(again)
    assert same(weights(folder), weights(again)), "they are those of that step"


def test_training_ends_when_it_gets_no_better(tmp_path):
    folder = spec(tmp_path / "a", stop_on="loss", patience=3, steps=400, validate_every=5, **WORSE)
    worker.train(folder)
    steps = [step for step, _ in lines(folder, "validation/loss")]
    assert figures(folder)["steps"] == steps[-1] == figures(folder)["best_step"] + 15 < 400


@pytest.mark.parametrize(
    "options", [{"stop_on": "loss", "patience": 3, **WORSE}, {"average_last": 3, "ema_half_life": 0.0}]
)
def test_stopping_and_averaging_are_exact_under_resume(tmp_path, monkeypatch, options):
    options = {"steps": 100, "validate_every": 5} | options
    whole = spec(tmp_path / "whole", **options)
    worker.train(whole)
    broken = spec(tmp_path / "broken", **options)
    for every, die_at in ((0.0, 12), (1e9, 23), (1e9, 29)):
        monkeypatch.setattr(checkpoint, "EVERY_SECONDS", every)
        monkeypatch.setattr(toy, "DIE_AT", die_at)
        with pytest.raises(RuntimeError, match="killed by the test"):
            worker.train(broken)
    monkeypatch.setattr(toy, "DIE_AT", -1)
    worker.train(broken)
    assert same(weights(whole), weights(broken))
    assert lines(whole, "validation/loss") == lines(broken, "validation/loss")
    drop = ("seconds",)
    assert {k: v for k, v in figures(whole).items() if k not in drop} == {
        k: v for k, v in figures(broken).items() if k not in drop
    }


def test_an_old_checkpoint_finds_the_weights_it_averages(tmp_path, monkeypatch):
    """Killed long after its last checkpoint, a training goes on from that, with the weights of then."""
    options = {"steps": 60, "validate_every": 5, "average_last": 2, "ema_half_life": 0.0}
    whole = spec(tmp_path / "whole", **options)
    worker.train(whole)
    broken = spec(tmp_path / "broken", **options)
    monkeypatch.setattr(toy, "DIE_AT", 17)
    with pytest.raises(RuntimeError):
        worker.train(broken)
    kept = (broken / "last.ckpt").read_bytes()
    monkeypatch.setattr(toy, "DIE_AT", 48)
    with pytest.raises(RuntimeError):
        worker.train(broken)
    (broken / "last.ckpt").write_bytes(kept)
    monkeypatch.setattr(toy, "DIE_AT", -1)
    worker.train(broken)
    assert same(weights(whole), weights(broken))


def test_the_average_is_the_mean_of_the_last_weights(tmp_path):
    parts = []
    for steps in (30, 35, 40):
        part = spec(tmp_path / str(steps), steps=steps, validate_every=5, schedule="constant", ema_half_life=0.0)
        worker.train(part)
        parts.append(weights(part))
    folder = spec(tmp_path / "mean", steps=40, validate_every=5, schedule="constant", ema_half_life=0.0, average_last=3)
    worker.train(folder)
    for name, value in weights(folder).items():
        assert torch.allclose(value, sum(part[name] for part in parts) / 3, atol=1e-6)


def test_a_figure_that_the_training_has_not_is_refused(tmp_path, monkeypatch):
    def other(task, batch, batch_idx):
        task.log("validation/other", batch["y"].mean())

    folder = spec(tmp_path / "a", stop_on="bleu")
    with pytest.raises(UserError, match=r"stop_on=bleu, which is of sentence pairs"):
        worker.train(folder)
    assert not (folder / "last.ckpt").exists(), "before a step is made"
    monkeypatch.setattr(toy.ToyTask, "validation_step", other)
    folder = spec(tmp_path / "b", stop_on="loss")
    with pytest.raises(UserError, match=r"waits for validation/loss, and this training has validation/other"):
        worker.train(folder)


@pytest.mark.parametrize(
    ("training", "sentence"),
    [
        ({"average_last": 3}, "are two averages of the weights"),
        ({"patience": 3}, "say which in stop_on"),
        ({"schedule": "noam", "warmup_steps": 0}, "give 1 or more"),
        ({"final_learning_rate": 0.1, "schedule": "constant"}, "has no end"),
    ],
)
def test_impossible_trainings_are_refused(training, sentence):
    with pytest.raises(UserError, match=sentence):
        build({"vae": {"training": training}})

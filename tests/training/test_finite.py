"""A training that is no longer of numbers: it ends at once in one sentence, without a model and without a state to go on from."""

import json
import math
import sqlite3
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch

from stepladder.data.preparing.images import prepare_own
from stepladder.diffusion.training import task as diffusion_task
from stepladder.params import Params, merge
from stepladder.params import build as build_params
from stepladder.training import checkpoint, families, worker
from tests import digits
from tests.training import project, toy
from tests.training.project import run
from tests.transformer import texts

TRAINING = {"steps": 12, "batch_size": 64, "warmup_steps": 1, "validate_every": 6, "learning_rate": 0.003}
POISONED = 8  # the micro-batch that is drawn when the weights are spoilt


def spec(folder: Path, family: str, params: Params, data: Path, timesteps: int | None = None) -> Path:
    folder.mkdir(parents=True)
    content = {"family": family, "name": family, "params": params.model_dump(mode="json"), "timesteps": timesteps}
    (folder / "spec.json").write_text(json.dumps(content | {"data": str(data), "header": {}}))
    return folder


def of_toy(folder: Path, **training) -> Path:
    settings = TRAINING | {"batch_size": 8} | training
    params = build_params(merge(Params().model_dump(mode="json"), {"diffusion": {"training": settings}}))
    return spec(folder, "diffusion", params, Path(), 5)


@pytest.fixture
def toy_family(monkeypatch):
    monkeypatch.setitem(
        families.FAMILIES, "diffusion", replace(families.FAMILIES["diffusion"], module="tests.training.toy")
    )


def numbers(folder: Path) -> bool:
    state = torch.load(folder / "last.ckpt", map_location="cpu", weights_only=True)["state_dict"]
    return all(value.isfinite().all() for name, value in state.items() if "quartiles" not in name)


def assert_ended(folder: Path, steps: range, *words: str) -> None:
    said = (folder / "error.txt").read_text()
    found = [step for step in steps if f" ended at step {step} of 12, where " in said]
    assert found, said
    assert all(word in said for word in ("no model was made. Try to lower learning_rate", *words)), said
    assert "\n" not in said
    assert not (folder / "model").exists()
    if (folder / "last.ckpt").exists():
        assert numbers(folder)
        assert checkpoint.finished_steps(folder / "last.ckpt") < max(steps)


def of_pictures(folder: Path, family: str) -> tuple[Params, Path, int | None]:
    sections = {name: {"training": TRAINING} for name in ("diffusion", "noisy_classifier", "vae", "gan")}
    given = digits.params(**sections, feature_net={"steps": 12})
    return given, digits.prepared(), 10 if family == "diffusion" else None


def adapted(folder: Path) -> tuple[Params, Path, int | None]:
    base = digits.save(diffusion_task.experiment(digits.params(), digits.prepared(), timesteps=10), folder / "base")
    pictures = folder / "own"
    pictures.mkdir()
    for i in range(20):
        torch.manual_seed(i)
        digits_like = (torch.rand(8, 8) * 255).byte().numpy()
        import_module("PIL.Image").fromarray(digits_like).save(pictures / f"{i}.png")
    section = {"model": str(base), "pictures": str(pictures), "rank": 2, "training": TRAINING | {"batch_size": 8}}
    given = digits.params(adaptation=section)
    prepare_own(given, [1, 8, 8], folder / "prepared")
    return given, folder / "prepared", None


def of_text(folder: Path, task: str, architecture: str) -> tuple[Params, Path, int | None]:
    given = texts.params(task, architecture, training={"steps": 12, "validate_every": 6, "warmup_steps": 1})
    pretraining = {"classification": {"pretraining": TRAINING | {"batch_size": 256}}}
    given = build_params(merge(given.model_dump(mode="json"), pretraining))
    return given, texts.prepared(folder, task, architecture), None


KINDS = {
    **{family: lambda folder, family=family: of_pictures(folder, family)
       for family in ("diffusion", "noisy-classifier", "feature-net", "vae", "gan")},
    "adapted": adapted,
    "transformer": lambda folder: of_text(folder, "pairs", "encoder_decoder"),
    "masked-lm": lambda folder: of_text(folder, "labels", "encoder"),
}  # fmt: skip


def test_every_family_is_here():
    assert KINDS.keys() == families.FAMILIES.keys()


@pytest.mark.slow
@pytest.mark.parametrize("family", KINDS)
def test_a_network_that_is_no_longer_of_numbers_ends_every_family(tmp_path, monkeypatch, family):
    """By the loss that each computes; a checkpoint was written after every step."""
    params, data, timesteps = KINDS[family](tmp_path)
    module = import_module(families.FAMILIES[family].module)
    made = module.experiment

    def spoilt(*arguments, **options):
        whole = made(*arguments, **options)

        def draw(k):
            if k == POISONED:
                for parameter in whole.task.model.parameters():
                    parameter.data.fill_(math.nan)
            return whole.draw(k)

        return replace(whole, draw=draw)

    monkeypatch.setattr(module, "experiment", spoilt)
    monkeypatch.setattr(checkpoint, "EVERY_SECONDS", 0.0)
    folder = spec(tmp_path / "state", family, params, data, timesteps)
    assert worker.main(folder) == 2
    assert_ended(folder, range(POISONED - 1, POISONED + 3))
    assert (folder / "last.ckpt").exists()


@pytest.mark.usefixtures("toy_family")
@pytest.mark.parametrize(("accumulate", "value"), [(1, math.nan), (3, math.inf), (3, -math.inf)])
def test_the_step_of_the_first_wrong_loss_is_named(tmp_path, monkeypatch, accumulate, value):
    monkeypatch.setattr(checkpoint, "EVERY_SECONDS", 0.0)
    usual = toy.ToyTask.training_step

    def step(self, batch, batch_idx):
        return usual(self, batch, batch_idx) * (value if batch["position"] == 5 * accumulate + accumulate // 2 else 1)

    monkeypatch.setattr(toy.ToyTask, "training_step", step)
    folder = of_toy(tmp_path / "state", accumulate=accumulate, batch_size=6, gradient_clip=0)
    assert worker.main(folder) == 2
    assert_ended(folder, range(6, 7), "the loss is not a finite number", "clip gradients (gradient_clip is 0)")
    assert checkpoint.finished_steps(folder / "last.ckpt") == 5
    assert worker.main(folder) == 2, "run again, it goes on from numbers and ends in the same way"
    assert_ended(folder, range(6, 7))


@pytest.mark.usefixtures("toy_family")
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_validation_figure_that_is_no_number_ends_it(tmp_path, monkeypatch, value):
    def validation_step(self, batch, batch_idx):
        self.log("validation/loss", torch.tensor(value if self.global_step > 6 else 1.0))

    monkeypatch.setattr(toy.ToyTask, "validation_step", validation_step)
    folder = of_toy(tmp_path / "state", stop_on="loss", validate_every=4)
    assert worker.main(folder) == 2
    assert_ended(folder, range(8, 9), f"validation/loss is {value}")


@pytest.mark.usefixtures("toy_family")
def test_of_a_gradient_that_is_no_number_in_the_last_step_no_model_is_left(tmp_path, monkeypatch):
    """The loss of that step is fine, and no other follows."""
    usual = toy.ToyTask.training_step

    def step(self, batch, batch_idx):
        loss = usual(self, batch, batch_idx)
        if batch["position"] == 11:
            loss.register_hook(lambda gradient: gradient * math.nan)
        return loss

    monkeypatch.setattr(toy.ToyTask, "training_step", step)
    folder = of_toy(tmp_path / "state", validate_every=100)
    assert worker.main(folder) == 2
    assert_ended(folder, range(12, 13), "some weights are not finite numbers")


@pytest.mark.usefixtures("toy_family")
def test_what_ends_for_another_reason_keeps_no_wrong_weights_either(tmp_path, monkeypatch):
    usual = toy.ToyTask.training_step

    def step(self, batch, batch_idx):
        if batch["position"] == 7:
            raise KeyboardInterrupt
        loss = usual(self, batch, batch_idx)
        if batch["position"] == 6:
            loss.register_hook(lambda gradient: gradient * math.nan)
        return loss

    monkeypatch.setattr(toy.ToyTask, "training_step", step)
    folder = of_toy(tmp_path / "state")
    assert worker.main(folder) in (2, 130)
    assert not (folder / "last.ckpt").exists() or numbers(folder)


BROKEN = {
    "diffusion": {
        "variance": "learned_range", "loss": "vlb", "unet": {"channels": 8, "channel_mult": [1, 2], "blocks": 1},
        "training": {"steps": 40, "batch_size": 16, "warmup_steps": 0, "validate_every": 40, "gradient_clip": 0},
    }
}  # fmt: skip
TRAIN = ("train", "diffusion", "--timesteps", "20")


@pytest.mark.slow
def test_the_command_ends_in_a_sentence_and_leaves_the_older_model(tmp_path):
    """At a learning rate that no network survives; with a real tracking store, and on two ranks."""
    folder = project.make(tmp_path / "project", BROKEN)
    assert run(folder, "prepare", "images").returncode == 0
    tracked = {"STEPLADDER_TRACKING": "mlflow", "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/store.db"}
    done = run(folder, *TRAIN, **tracked)
    assert done.returncode == 0, done.stderr
    before = (folder / "models/diffusion/T20/model.safetensors").read_bytes()
    project.make(folder, merge(BROKEN, {"diffusion": {"training": {"learning_rate": 1.0}}}))
    for extra in (tracked, {"STEPLADDER_DEVICES": "2"}, {"STEPLADDER_DEVICES": "2", "STEPLADDER_STRATEGY": "fsdp"}):
        done = run(folder, *TRAIN, **extra)
        assert done.returncode == 2, done.stdout + done.stderr
        assert "no model was made. Try to lower learning_rate (it is 1)" in done.stderr
        assert "Traceback" not in done.stderr
        assert (folder / "models/diffusion/T20/model.safetensors").read_bytes() == before
        for file in folder.glob(".checkpoints/*/*.ckpt"):
            state = torch.load(file, map_location="cpu", weights_only=True)
            assert all(v.isfinite().all() for n, v in state["state_dict"].items() if n.startswith("model."))
    with sqlite3.connect(folder / "store.db") as store:
        statuses = store.execute("select status from runs where name = 'T=20' order by start_time")
        assert [status for (status,) in statuses] == ["FINISHED", "FAILED"]

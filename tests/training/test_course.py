"""The order of what happens in a training: what docs and comments say of it is what Lightning and ``Course`` do."""

import json
from dataclasses import replace

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException
from safetensors.torch import load_file

from stepladder.training import averages, best, checkpoint, course, finite, worker
from tests.training import toy
from tests.training.test_worker import lines, spec, toy_family

__all__ = ["toy_family"]

MICRO_BATCH = ["save if due", "seed", "training_step", "backward"]
STEP = ["no state", "freeze", "norms", "clip", "AdamW", "learning rate", "check loss", "state", "average"]
VALIDATION = ["no state", "take", "swap", "validation_step", "preview", "check figures", "compare", "swap", "state"]
WATCHED = (
    (checkpoint.TimedCheckpoint, "save_if_due", "save if due"), (torch, "manual_seed", "seed"),
    (toy.ToyTask, "training_step", "training_step"), (torch.Tensor, "backward", "backward"), (course, "freeze", "freeze"),
    (course, "by_layer", "norms"), (pl.LightningModule, "configure_gradient_clipping", "clip"), (torch.optim.AdamW, "step", "AdamW"),
    (torch.optim.lr_scheduler.LambdaLR, "step", "learning rate"), (finite.OnlyNumbers, "check_loss", "check loss"),
    (averages.WeightAverage, "after_step", "average"), (averages.WeightAverage, "take", "take"), (averages.WeightAverage, "swap", "swap"),
    (toy.ToyTask, "validation_step", "validation_step"), (toy.ToyTask, "preview", "preview"),
    (finite.OnlyNumbers, "check_validation", "check figures"), (best.BestWeights, "compare", "compare"),
)  # fmt: skip


@pytest.fixture
def events(monkeypatch):
    """What happened, in order."""
    seen: list[str] = []

    def watch(owner, name, called):
        usual = getattr(owner, name)

        def watched(*arguments, **options):
            result = usual(*arguments, **options)
            seen.append(called)  # when it is done: AdamW's step begins with forward and backward
            return result

        monkeypatch.setattr(owner, name, watched)

    for owner, name, called in WATCHED:
        watch(owner, name, called)

    def between_steps(self, value):
        seen.append("state" if value else "no state")
        self.__dict__["value"] = value

    usual = property(lambda self: self.__dict__["value"], between_steps)
    monkeypatch.setattr(checkpoint.TimedCheckpoint, "between_steps", usual, raising=False)
    monkeypatch.setattr(toy.ToyTask, "layer_gradients", True)
    made = toy.experiment

    def drawing(*arguments, **options):
        whole = made(*arguments, **options)
        return replace(whole, draw=lambda k: (seen.append(f"draw {k}"), whole.draw(k))[1])

    monkeypatch.setattr(toy, "experiment", drawing)
    return seen


def test_a_step_and_its_validation_take_their_course(tmp_path, events):
    """Lightning draws one micro-batch ahead, and that of a step that is never made."""
    worker.train(spec(tmp_path / "a", steps=2, accumulate=2, validate_every=1, warmup_steps=1, gradient_clip=1.0))
    drawn = [event for event in events if event.startswith("draw")]
    assert drawn == [f"draw {k}" for k in range(len(drawn))]
    assert 4 <= len(drawn) <= 5
    rest = [event for event in events if not event.startswith("draw")]
    one = [*MICRO_BATCH, "check loss", "no state", *MICRO_BATCH, *STEP, *VALIDATION]
    first = rest.index("save if due")
    assert rest[first : first + 2 * len(one)] == [*one, *one]


def test_everything_that_has_an_order_is_in_one_callback():
    """Other callbacks of the Trainer keep state, or show how far it is: of what changes a training they have no hook."""
    hooks = {name for name in dir(pl.Callback) if name.startswith("on_")}
    for part in (averages.WeightAverage, averages.LastAverage, best.BestWeights):
        assert {name for name in hooks if getattr(part, name) is not getattr(pl.Callback, name)} == set(), part
    own = [name for name in vars(course.Course) if name in hooks]
    assert own == [
        "on_fit_start", "on_train_start", "on_train_batch_start", "on_before_optimizer_step", "on_train_batch_end",
        "on_validation_start", "on_validation_epoch_end", "on_validation_end", "on_save_checkpoint", "on_train_end", "on_exception",
    ]  # fmt: skip


@pytest.mark.parametrize("average", [{}, {"average_last": 2, "ema_half_life": 0.0}])
@pytest.mark.parametrize("ended", [RuntimeError, SIGTERMException])
def test_ended_within_a_validation_and_run_again_gives_the_same_bits(tmp_path, monkeypatch, ended, average):
    """Where the average is in the weights' place: a checkpoint would take the one for the other."""
    whole, broken = (spec(tmp_path / name, **average) for name in ("whole", "broken"))
    worker.train(whole)
    usual = toy.ToyTask.validation_step
    monkeypatch.setattr(checkpoint, "EVERY_SECONDS", 1e9)

    def validation_step(self, batch, batch_idx):
        usual(self, batch, batch_idx)
        if self.global_step == 20:
            raise ended

    monkeypatch.setattr(toy.ToyTask, "validation_step", validation_step)
    with pytest.raises(ended):
        worker.train(broken)
    monkeypatch.setattr(toy.ToyTask, "validation_step", usual)
    worker.train(broken)
    expected, got = (load_file(folder / "model" / "model.safetensors") for folder in (whole, broken))
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    assert lines(whole, "validation/loss") == lines(broken, "validation/loss")
    figures = [json.loads((folder / "model" / "figures.json").read_text()) for folder in (whole, broken)]
    assert figures[0] | {"seconds": 0} == figures[1] | {"seconds": 0}

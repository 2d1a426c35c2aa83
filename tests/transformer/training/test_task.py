from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from stepladder.tasks.experiment import Experiment
from stepladder.transformer.training.task import experiment
from stepladder.transformer.training.translation_task import TranslationTask
from tests.transformer.prepared import params, prepare


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("text") / "text")


def _gradient(parts: list[tuple[Experiment, int]], share: float) -> torch.Tensor:
    """The mean gradient of micro-batches, with the weights of the first part's task and no dropout."""
    task = parts[0][0].task
    assert isinstance(task, TranslationTask)
    task.model.zero_grad()
    for part, k in parts:
        batch = part.draw(k)
        task.eval()
        (task._loss(batch, 0.1) / batch["tokens"] * share).backward()
    return torch.cat([p.grad.flatten() for p in task.model.parameters() if p.grad is not None])


def test_any_split_into_ranks_and_micro_batches_gives_one_gradient(data: Path) -> None:
    torch.manual_seed(0)
    whole = experiment(params(), data)
    expected = _gradient([(whole, 1)], 1.0)
    for ranks, accumulate in ((2, 1), (1, 3), (3, 2), (16, 4)):
        options = params(training={"accumulate": accumulate})
        parts = [experiment(options, data, rank=r, world_size=ranks) for r in range(ranks)]
        for part in parts:
            part.task.load_state_dict(whole.task.state_dict())
        drawn = [(part, accumulate + micro) for part in parts for micro in range(accumulate)]
        found = _gradient(drawn, 1 / (ranks * accumulate))
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)


def test_draw_is_a_function_of_its_position(data: Path) -> None:
    one, other = experiment(params(), data), experiment(params(), data)
    for k in (0, 40, 3):
        first, again = one.draw(k), other.draw(k)
        assert first["position"] == k
        assert torch.equal(first["source"], again["source"])
        assert torch.equal(first["wanted"], again["wanted"])


def test_batches_start_with_bos_and_want_the_end(data: Path) -> None:
    batch = experiment(params(), data).draw(0)
    assert (batch["target"][:, 0] == 1).all()
    assert ((batch["wanted"] == 2).sum(1) == 1).all()
    assert torch.equal(
        batch["wanted"][:, :-1][batch["wanted"][:, 1:] != 0], batch["target"][:, 1:][batch["wanted"][:, 1:] != 0]
    )
    assert batch["tokens"] == (batch["wanted"] != 0).sum()


def test_validation_loss_is_that_of_all_tokens_for_any_number_of_ranks(data: Path) -> None:
    sums, state = [], experiment(params(), data).task.state_dict()
    for ranks in (1, 3, 20):
        parts = [experiment(params(), data, rank=r, world_size=ranks) for r in range(ranks)]
        assert len({len(p.validation) for p in parts}) == 1
        task = parts[0].task.eval()
        task.load_state_dict(state)
        with torch.no_grad():
            sums.append(sum(float(task._loss(b, 0.0)) for p in parts for b in p.validation))  # type: ignore[operator]
    assert sums == pytest.approx([sums[0]] * 3, rel=1e-5)


def test_trains_and_logs(data: Path, tmp_path: Path) -> None:
    options = params(training={"steps": 60, "batch_size": 128, "learning_rate": 0.01})
    torch.manual_seed(0)
    made = experiment(options, data)
    trainer = pl.Trainer(
        max_steps=60, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu",
        default_root_dir=tmp_path, val_check_interval=30, check_val_every_n_epoch=None, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(made.task, map(made.draw, range(1000)), DataLoader(made.validation, batch_size=None))  # type: ignore[arg-type]
    logged = trainer.callback_metrics
    assert logged["train/loss"] < 2.6
    assert logged["validation/perplexity"] == pytest.approx(float(logged["validation/loss"].exp()), rel=1e-5)


def test_experiment_can_be_rebuilt_from_its_configuration(data: Path) -> None:
    made = experiment(params(), data)
    assert made.files == {"tokenizer.json": data / "tokenizer.json"}
    again = TranslationTask(made.task.description, 0.1, params().transformer.training)  # type: ignore[arg-type]
    again.load_state_dict(made.task.state_dict())

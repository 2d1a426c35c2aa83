"""The contract of what is trained: every family keeps it, and a Trainer that knows nothing of it trains all the same."""

import ast
from importlib import import_module
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, IterableDataset

from stepladder.params import build, merge
from stepladder.tasks.experiment import Experiment
from stepladder.tasks.task import Task
from stepladder.training import worker
from stepladder.training.families import FAMILIES
from tests import digits
from tests.transformer import prepared, texts

NAMES = ("task", "self.task", "pl_module", "experiment.task")  # what a task is called in training/
BEYOND = {"adapted": "it goes on from another's weights; tests/diffusion/test_adaptation.py trains it"}
BATCH = {"training": {"batch_size": 32, "accumulate": 1}}


class Micro(IterableDataset):
    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment

    def __iter__(self):
        return map(self.experiment.draw, range(10**6))


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("text")
    return {
        "transformer": prepared.prepare(folder / "pairs"),
        "masked-lm": texts.prepared(folder / "masked", "labels", "encoder"),
    }


def made(family: str, text: dict[str, Path]) -> Experiment:
    images = FAMILIES[family].data == "images"
    small = digits.params(vae=BATCH, gan=BATCH, noisy_classifier=BATCH) if images else prepared.params()
    if family == "masked-lm":
        changed = {"text": {"task": "labels"}, "transformer": {"architecture": "encoder"}}
        small = build(
            merge(small.model_dump(mode="json"), changed | {"classification": {"pretraining": BATCH["training"]}})
        )
    data = digits.prepared() if images else text[family]
    more = {"timesteps": 10} if family == "diffusion" else {}
    return import_module(FAMILIES[family].module).experiment(small, data, **more)


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - set(BEYOND)))
def test_a_plain_trainer_trains_it(family, text, tmp_path):
    torch.manual_seed(0)
    experiment = made(family, text)
    before = [parameter.detach().clone() for parameter in experiment.task.model.parameters()]
    trainer = pl.Trainer(
        max_steps=4, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path, limit_val_batches=1, num_sanity_val_steps=0,
    )  # fmt: skip
    validation = DataLoader(experiment.validation, batch_size=None)
    trainer.fit(experiment.task, DataLoader(Micro(experiment), batch_size=None), validation)
    trainer.validate(experiment.task, validation, verbose=False)
    assert trainer.global_step == 4
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert any(name.startswith("validation/") for name in logged)
    assert all(torch.isfinite(torch.tensor(value)) for name, value in logged.items() if "quartile" not in name)
    after = list(experiment.task.model.parameters())
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_what_the_loop_asks_of_a_task_is_in_its_contract():
    """Nothing is found out by ``getattr``: who misspells a capability is told by the type checker and here."""
    asked: dict[str, str] = {}
    for file in sorted(Path(worker.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) in NAMES:
                asked[node.attr] = file.name
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr"):
                assert ast.unparse(node.args[0]) not in NAMES, f"{file.name} asks by name: {ast.unparse(node)}"
    known = {*dir(Task), *Task.__annotations__}
    wanted = {"shardable", "find_unused_parameters", "layer_gradients", "loss", "preview", "finish", "compile_model"}
    assert wanted <= set(asked)
    assert {name: file for name, file in asked.items() if name not in known} == {}


def test_what_lacks_a_step_is_no_task():
    class Half(Task):
        def training_step(self, batch, batch_idx):
            return torch.zeros(())

    with pytest.raises(TypeError, match="abstract"):
        Half()

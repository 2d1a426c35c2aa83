"""The trainings of language models through the training process: killed and resumed, on two ranks, from a masked model."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from stepladder import history
from stepladder.journal import record
from stepladder.params import Params, render
from stepladder.training import checkpoint, worker
from stepladder.transformer.training.language_task import LanguageTask
from tests.launching.test_launch import run
from tests.transformer import texts
from tests.transformer.test_language_tasks import KINDS

OPTIONS = {
    "pairs": {
        "bpe_dropout": 0.2,
        "training": {"steps": 40, "stop_on": "bleu", "average_last": 2, "ema_half_life": 0.0, "accumulate": 2},
    },
    "lines": {"training": {"steps": 40, "stop_on": "loss"}},
    "labels": {"training": {"steps": 40, "stop_on": "loss", "patience": 3}},
}


def trained(folder: Path, params: Params, data: Path) -> Path:
    folder.mkdir(exist_ok=True)
    content = {"family": "transformer", "name": "made", "params": params.model_dump(mode="json"), "timesteps": None}
    (folder / "spec.json").write_text(json.dumps(content | {"data": str(data), "header": {}}))
    worker.train(folder)
    return folder


def weights(model: Path) -> dict[str, torch.Tensor]:
    return load_file(model / "model.safetensors")


def figures(journal: Path) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for line in record.read(journal):
        for name, value in line.get("metrics", {}).items():
            if not name.startswith("system/"):
                found.setdefault(name, []).append((line["step"], value))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("task", "architecture"), KINDS)
def test_killed_and_run_again_gives_the_same_bits_and_figures(tmp_path, monkeypatch, task, architecture):
    params = texts.params(task, architecture, **OPTIONS[task])
    data = texts.prepared(tmp_path, task, architecture)
    whole = trained(tmp_path / "whole", params, data)
    step = LanguageTask.training_step
    monkeypatch.setattr(checkpoint, "EVERY_SECONDS", 0.0)
    for die_at in (24, 31):

        def dying(self, batch, index, die_at=die_at * params.transformer.training.accumulate):
            if batch["position"] == die_at:
                raise RuntimeError("killed by the test")
            return step(self, batch, index)

        monkeypatch.setattr(LanguageTask, "training_step", dying)
        with pytest.raises(RuntimeError, match="killed by the test"):
            trained(tmp_path / "broken", params, data)
    monkeypatch.setattr(LanguageTask, "training_step", step)
    broken = trained(tmp_path / "broken", params, data)
    expected, found = weights(whole / "model"), weights(broken / "model")
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    expected, found = figures(whole / "journal.jsonl"), figures(broken / "journal.jsonl")
    assert found == expected
    assert any(name.startswith("gradient_norm/") for name in found)
    assert task == "lines" or found["padding"][0][0] == 0


@pytest.mark.slow
@pytest.mark.parametrize(("task", "architecture"), [("pairs", "encoder_decoder"), ("lines", "decoder")])
def test_two_ranks_have_the_losses_of_one(tmp_path, task, architecture):
    """Uneven shards: neither batches nor validation rows divide by two, and no rank waits for another in vain."""
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    params = texts.params(task, architecture, dropout=0.0, **OPTIONS[task])
    (tmp_path / "params.yaml").write_text(render(params))
    (tmp_path / "data").mkdir()
    data = texts.prepared(tmp_path / "data", task, architecture)
    one = figures(trained(tmp_path / "whole", params, data) / "journal.jsonl")["validation/loss"]
    done = run(tmp_path, "train", "transformer", STEPLADDER_DEVICES="2")
    assert done.returncode == 0, done.stderr
    two = figures(tmp_path / "models/transformer" / history.CURVE)["validation/loss"]
    assert [step for step, _ in two] == [step for step, _ in one] == [10, 20, 30, 40]
    assert [loss for _, loss in two] == pytest.approx([loss for _, loss in one], rel=1e-3)


@pytest.mark.slow
def test_a_classifier_from_a_masked_model_is_trained_and_judged(tmp_path):
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    source = texts.write(tmp_path, "labels")
    (tmp_path / "params.yaml").write_text(render(texts.params("labels", "encoder", source.name)))
    for arguments in (["prepare", "text"], ["train", "masked-lm"], ["train", "classifier"], ["evaluate", "classifier"]):
        done = run(tmp_path, *arguments)
        assert done.returncode == 0, (arguments, done.stderr)
    assert "classifier, pretrained: accuracy" in done.stdout
    assert "macro_f1" in done.stdout
    started = json.loads((tmp_path / "models/classification/pretrained/config.json").read_text())
    assert started["base"] == "models/classification/masked-lm"

"""Progressive growing, end to end: the training process on pictures that grow."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from stepladder.data.card import prepared as prepared_folder
from stepladder.diffusion.sampling.drawing import draw, load
from stepladder.diffusion.training.task import DiffusionTask
from stepladder.params import Sampling, build, merge
from stepladder.training import checkpoint, worker
from tests.digits import params, prepared

NETWORKS = {
    "unet": {"unet": {"channels": 8, "channel_mult": [1, 2], "heads": 2, "attention_resolutions": [4]}},
    "dit": {"backbone": "dit", "dit": {"patch": 2, "d_model": 32, "depth": 2, "heads": 2}},
}


@pytest.fixture
def sides(monkeypatch):
    """The side of what the network sees in each training step."""
    seen: list[int] = []
    training_step = DiffusionTask.training_step

    def watched(self, batch, batch_idx):
        hook = self.model.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[2]))
        try:
            return training_step(self, batch, batch_idx)
        finally:
            hook.remove()

    monkeypatch.setattr(DiffusionTask, "training_step", watched)
    return seen


def spec(folder: Path, data: Path, diffusion: dict, training: dict) -> Path:
    folder.mkdir()
    values = params().model_dump(mode="json")
    training = {"batch_size": 16, "warmup_steps": 2, "validate_every": 1000} | training
    values = merge(values, {"diffusion": diffusion | {"training": training}})
    content = {"family": "diffusion", "name": "T", "params": build(values).model_dump(mode="json"), "timesteps": 10}
    (folder / "spec.json").write_text(json.dumps(content | {"data": str(data), "header": {}}))
    return folder


def pictures_32(folder: Path) -> Path:
    """Smooth random pictures of 32 pixels a side."""
    random = np.random.default_rng(0)
    card = {"kind": "images", "name": "random", "source": "made", "shape": [1, 32, 32], "classes": ["a", "b"]}
    with prepared_folder(folder, card) as fresh:
        for split, count in (("train", 64), ("test", 16)):
            coarse = random.integers(0, 256, (count, 1, 4, 4), dtype=np.uint8)
            np.save(fresh / f"{split}_images.npy", coarse.repeat(8, 2).repeat(8, 3))
            np.save(fresh / f"{split}_labels.npy", np.arange(count) % 2)
    return folder


@pytest.mark.parametrize("name", NETWORKS)
def test_digits_grow_from_4_to_8(tmp_path, sides, name):
    folder = spec(tmp_path / "a", prepared(), NETWORKS[name] | {"curriculum": [4]}, {"steps": 12})
    worker.train(folder)
    assert sides == [4] * 6 + [8] * 6
    model, config = load(folder / "model")
    pictures = draw(model, config, {"labels": torch.arange(2)}, 2, Sampling())
    assert pictures.shape == (2, 1, 8, 8)


@pytest.mark.parametrize("name", NETWORKS)
def test_pictures_of_32_grow_in_three_stages(tmp_path, sides, name):
    options = NETWORKS[name] | {"curriculum": [8, 16], "curriculum_share": 0.75}
    worker.train(spec(tmp_path / "a", pictures_32(tmp_path / "images"), options, {"steps": 8, "accumulate": 2}))
    assert sides == [8] * 6 + [16] * 6 + [32] * 4, "parts of the micro-batches"


@pytest.mark.parametrize("die_at", [2, 4, 7], ids=["within the first side", "at the change", "within the full side"])
def test_resumed_it_ends_with_the_same_bits(tmp_path, monkeypatch, die_at):
    options = NETWORKS["unet"] | {"curriculum": [4], "unfreeze": ["middle", "up"]}
    whole = spec(tmp_path / "whole", prepared(), options, {"steps": 8})
    worker.train(whole)
    broken = spec(tmp_path / "broken", prepared(), options, {"steps": 8})
    training_step, dead = DiffusionTask.training_step, [die_at]

    def dying(self, batch, batch_idx):
        if batch["position"] in dead:
            raise RuntimeError("killed by the test")
        return training_step(self, batch, batch_idx)

    monkeypatch.setattr(DiffusionTask, "training_step", dying)
    monkeypatch.setattr(checkpoint, "EVERY_SECONDS", 1e9)
    with pytest.raises(RuntimeError, match="killed by the test"):
        worker.train(broken)
    assert checkpoint.finished_steps(broken / "last.ckpt") == die_at
    dead.clear()
    worker.train(broken)
    expected, got = (load_file(f / "model" / "model.safetensors") for f in (whole, broken))
    assert all(torch.equal(expected[name], got[name]) for name in expected)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"curriculum": [8]}, "give a smaller one"),
        ({"curriculum": [16]}, "give a smaller one"),
    ],
)
def test_sides_of_the_picture_and_above_are_refused_by_the_worker(tmp_path, options, sentence):
    folder = spec(tmp_path / "a", prepared(), NETWORKS["unet"] | options, {"steps": 8})
    assert worker.main(folder) == 2
    assert sentence in (folder / "error.txt").read_text()

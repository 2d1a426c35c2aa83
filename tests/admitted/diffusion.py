"""Admitted parameters of the diffusion side, each prepared for, trained, drawn from and explained by the real code."""

from __future__ import annotations

import functools
import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from stepladder.data import texts
from stepladder.data.card import read_card
from stepladder.data.grid import scaled
from stepladder.data.image_arrays import ImageArrays
from stepladder.diffusion import likelihood, requests
from stepladder.diffusion.classifier import load as load_classifier
from stepladder.diffusion.samplers.samplers import SAMPLERS
from stepladder.diffusion.sampling.drawing import load
from stepladder.evaluation.pictures import drawers, held_out
from stepladder.launching.check import check
from stepladder.params import Params, fitting
from tests.admitted.outcome import checking, finite, train
from tests.admitted.walk import Space, of_training

WORDS = ("red", "blue", "large", "small", "round", "square")


def together() -> list[Any]:
    """Keys that a walk of single steps would hardly find together."""

    def process(chance: random.Random) -> dict[str, Any]:
        return {
            "diffusion.process": chance.choice(["discrete", "continuous", "edm", "flow"]), "diffusion.prediction": "v",
            "diffusion.variance": "fixed", "diffusion.loss": "simple", "diffusion.zero_terminal_snr": False,
            "diffusion.schedule": "cosine", "diffusion.betas": [], "diffusion.log_snr": [],
            "sweep.timesteps": [chance.choice([1, 2, 5, 16])], "sweep.sampling_steps": [1],
        }  # fmt: skip

    def learned(chance: random.Random) -> dict[str, Any]:
        return {
            "diffusion.variance": "learned_range", "diffusion.loss": chance.choice(["hybrid", "vlb"]),
            "diffusion.weighting": "none", "sampling.variance": chance.choice(["learned", "fixed_small"]),
        }  # fmt: skip

    def curve(chance: random.Random) -> dict[str, Any]:
        values = sorted({round(chance.uniform(-20, 20), 3) for _ in range(chance.randint(2, 4))}, reverse=True)
        return {"diffusion.schedule": "log_snr", "diffusion.log_snr": values, "diffusion.betas": []}

    def table(chance: random.Random) -> dict[str, Any]:
        betas = [round(chance.uniform(0.001, 0.999), 4) for _ in range(chance.randint(1, 4))]
        betas[-1] = chance.choice([betas[-1], 1.0])
        return {
            "diffusion.schedule": "betas", "diffusion.betas": betas, "diffusion.log_snr": [],
            "sweep.timesteps": [len(betas)], "sweep.sampling_steps": [1],
        }  # fmt: skip

    def without_signal(chance: random.Random) -> dict[str, Any]:
        return {
            "diffusion.zero_terminal_snr": True, "diffusion.prediction": chance.choice(["v", "x0"]),
            "diffusion.weighting": chance.choice(["none", "edm"]), "diffusion.process": "discrete",
        }  # fmt: skip

    def read(chance: random.Random) -> dict[str, Any]:
        return {"diffusion.text": True, "images.text_column": "caption"}

    def way(chance: random.Random) -> dict[str, Any]:
        own = {
            "ancestral": {"variance": "fixed_large"},
            "ddim": {"eta": chance.random()},
            "heun": {"churn": chance.choice([0.1, 40.0, 1000.0])},
        }
        sampler = chance.choice(list(SAMPLERS))
        usual = {"variance": "fixed_small", "eta": 0.0, "churn": 0.0} | own.get(sampler, {})
        return {"sampling.sampler": sampler} | {f"sampling.{key}": given for key, given in usual.items()}

    def levels(chance: random.Random) -> dict[str, Any]:
        depth = chance.randint(1, 3)
        return {
            "diffusion.unet.channel_mult": [1] * depth, "images.size": 2 ** (depth - 1) * chance.choice([1, 1, 2, 3]),
            "diffusion.training.batch_size": chance.choice([1, 2]), "diffusion.training.accumulate": 1,
            "diffusion.curriculum": [],
        }  # fmt: skip

    def cut(chance: random.Random) -> dict[str, Any]:
        return {
            "diffusion.backbone": "dit",
            "diffusion.dit.d_model": chance.choice([16, 18, 20, 24]),
            "diffusion.curriculum": [],
        }

    def guided(chance: random.Random) -> dict[str, Any]:
        return {
            "sampling.guidance_scale": chance.choice([0.0, 4.0]),
            "diffusion.label_dropout": chance.choice([0.1, 1.0]),
        }

    def classified(chance: random.Random) -> dict[str, Any]:
        return {"sampling.classifier_scale": chance.choice([1.0, 100.0]), "noisy_classifier.channel_mult": [1]}

    def growing(chance: random.Random) -> dict[str, Any]:
        return {
            "diffusion.curriculum": chance.choice([[2], [4], [2, 4], [3], [4, 6]]),
            "images.size": chance.choice([8, 12]),
        }

    def sometimes(chance: random.Random) -> dict[str, Any]:
        start = chance.random()
        return {"sampling.guidance_interval": [start, chance.uniform(start, 1.0)]}

    def parts(chance: random.Random) -> dict[str, Any]:
        accumulate = chance.choice([1, 2, 3])
        return {
            "diffusion.training.accumulate": accumulate,
            "diffusion.training.batch_size": accumulate * chance.randint(1, 3),
        }

    trainings = [of_training("diffusion.training"), of_training("noisy_classifier.training")]
    return [
        process,
        learned,
        curve,
        table,
        without_signal,
        read,
        way,
        levels,
        cut,
        guided,
        classified,
        growing,
        sometimes,
        parts,
        *trainings,
    ]


SPACE = Space(
    start={
        "images.size": 8,
        "diffusion.unet.channels": 8, "diffusion.unet.channel_mult": [1, 2], "diffusion.unet.heads": 2,
        "diffusion.dit.d_model": 16, "diffusion.dit.depth": 1, "diffusion.dit.heads": 2,
        "diffusion.text_encoder.d_model": 16, "diffusion.text_encoder.depth": 1, "diffusion.text_encoder.heads": 2,
        "diffusion.training.steps": 2, "diffusion.training.batch_size": 4, "diffusion.training.validate_every": 2,
        "diffusion.training.warmup_steps": 0,
        "sweep.timesteps": [8], "sweep.sampling_steps": [1, 3],
        "noisy_classifier.channels": 8, "noisy_classifier.heads": 2, "noisy_classifier.training.steps": 2,
        "noisy_classifier.training.batch_size": 4, "noisy_classifier.training.warmup_steps": 0,
        "noisy_classifier.training.validate_every": 2,
    },
    sections=("seed", "images", "sweep", "diffusion", "sampling", "noisy_classifier"),
    held=(
        "diffusion.training.steps", "noisy_classifier.training.steps", "images.source", "images.config",
        "images.revision", "images.held_out", "images.limit", "images.on_bad_row", "images.image_column", "images.label_column",
    ),
    most={
        "channel_mult": 2, "blocks": 2, "depth": 2, "heads": 4, "d_model": 48, "timesteps": 40, "sampling_steps": 40,
        "accumulate": 3, "batch_size": 6, "learning_rate": 1e-3, "average_last": 3, "text_length": 8, "text_vocab_size": 80,
        "images.size": 16, "seed": 2**31,
    },
    words={
        "images.name": ["", "own"],
        "images.text_column": ["", "caption"],
        "diffusion.unfreeze": [[], ["middle"], ["down", "up"], ["blocks"], ["stem", "label"], ["text"], ["midle"], ["middle.0"]],
    },
    together=together(),
)  # fmt: skip


@functools.cache
def prepared(shape: tuple[int, int, int], classes: int, reads: bool, length: int, root: Path) -> Path:
    """Noise in the form that ``data/preparing/images.py`` leaves."""
    folder = root / f"{'x'.join(map(str, shape))}-{classes}-{reads}-{length}"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    counts = {"train": 12, "test": 10}
    for split, count in counts.items():
        np.save(folder / f"{split}_images.npy", random.integers(0, 256, (count, *shape), dtype=np.uint8))
        labels = np.arange(count) % classes if classes else np.full(count, -1)
        np.save(folder / f"{split}_labels.npy", labels.astype(np.int64))
    card: dict[str, Any] = {
        "kind": "images", "name": "noise", "source": "the test", "licence": "", "counts": counts, "shape": list(shape),
        "classes": [f"c{i}" for i in range(classes)], "content_hash": "noise", "mean": [0.0], "std": [0.5],
    }  # fmt: skip
    if reads:
        said = {split: [" ".join(random.choice(WORDS, 3)) for _ in range(count)] for split, count in counts.items()}
        card["text"] = texts.write(folder, said, "caption", 64, length)
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def data_for(params: Params, chance: random.Random, root: Path) -> Path:
    """Prepared pictures such as ``params.images`` would give; what it leaves open is chosen."""
    images, open_ = params.images, chance.choice([(8, 8), (4, 4), (8, 4), (6, 6), (5, 5), (2, 2), (1, 1), (16, 8)])
    height, width = (images.size, images.size) if images.size else open_
    channels = images.channels or chance.choice([1, 3, 4])
    return prepared(
        (channels, height, width), chance.choice([0, 1, 3]), bool(images.text_column), images.text_length, root
    )


def one(params: Params, chance: random.Random, root: Path) -> None:
    """Check, train, draw, explain; raises where something is not as it should be."""
    data, state, guide = data_for(params, chance, root / "data"), root / "state", root / "noisy-classifier"
    card, timesteps = read_card(data), chance.choice(params.sweep.timesteps)
    shutil.rmtree(guide, ignore_errors=True)
    if params.sampling.classifier_scale:
        with checking():
            fitting.trainable("noisy-classifier", params, card)
        shutil.move(train(state, "noisy-classifier", params, data), guide)
    with checking():
        check("diffusion", params, data, classifier=guide)
    folder = train(state, "diffusion", params, data, timesteps)
    model, config = load(folder)
    classifier, classes = None, config.classes
    if params.sampling.classifier_scale:
        classifier, own = load_classifier(guide, config)
        classes = own.classes
    test = ImageArrays.open(data, "test")
    asked = held_out.condition(test, held_out.rows(test, 3), config.model_copy(update={"classes": tuple(classes)}))
    draw = drawers.local_sampler(model, config, params.seed, classifier)
    for steps in [s for s in params.sweep.sampling_steps if s <= timesteps][:2]:
        pictures, _ = draw(asked, steps, params.sampling)
        finite(f"a picture drawn in S={steps} of T={timesteps}", pictures)
    again = requests.sampling(config, params.sampling.model_dump(mode="json"), {})
    assert again == params.sampling, "what is registered draws otherwise"
    known = held_out.condition(test, np.arange(2), config)
    bits = likelihood.bits_per_dim(model, config, scaled(test.images[:2]), known, seed=params.seed)["bits_per_dim"]
    finite("bits/dim", bits)

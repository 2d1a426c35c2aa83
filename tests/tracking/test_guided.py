"""A model that a noisy classifier guides: registered with it, it draws as registered wherever it is loaded."""

import json
import shutil
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from stepladder.commands.present import Present
from stepladder.data.grid import to_uint8
from stepladder.data.preparing import images
from stepladder.diffusion.classifier import NoisyClassifier
from stepladder.errors import UserError
from stepladder.evaluation import feature_task
from stepladder.params import build, merge
from stepladder.serving import models as serving
from stepladder.tracking import registry, store
from tests import digits
from tests.data.made import picture
from tests.tracking import made
from tests.tracking.test_registry import unpacked  # noqa: F401

GUIDED = build({"decoding": {"beam_size": 2, "max_length": 8}, "sampling": {"classifier_scale": 20.0}})
CLASSES = ["one", "two", "zero"]  # as prepared
PROCESS = {"process": "discrete", "schedule": "cosine", "log_snr": [], "betas": [], "zero_terminal_snr": False}


def classifier(folder: Path, classes: list[str], seed: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    model = {
        "shape": [1, 8, 8], "channels": 8, "channel_mult": [1], "blocks": 1, "attention_resolutions": [], "heads": 2,
        "dropout": 0.0, "classes": len(classes),
    }  # fmt: skip
    network = NoisyClassifier(**model)
    save_file(
        {name: weight.contiguous() for name, weight in network.state_dict().items()}, folder / "model.safetensors"
    )
    config = {"family": "noisy-classifier", "model": model, "classes": classes, "data": {}} | PROCESS
    (folder / "config.json").write_text(json.dumps(config))


@pytest.fixture
def models(project) -> Path:
    made.diffusion(project / "models" / "diffusion" / "T20")
    made.translation(project / "models" / "transformer")
    made.comparison(project / "reports")
    return project


def register(project: Path, params=GUIDED):
    found = registry.register(params, project / "models", project / "reports")["models"]
    return next(model for model in found if model["name"] == "diffusion-digits")


def test_without_the_classifier_it_is_refused_and_the_command_named(models, unpacked):  # noqa: F811
    with pytest.raises(UserError, match="or run `stepladder train noisy-classifier`"):
        register(models)
    assert not store.client().search_registered_models()


def test_one_of_other_classes_is_refused(models, unpacked):  # noqa: F811
    classifier(models / "models" / "noisy-classifier", ["cat", "dog"])
    with pytest.raises(UserError, match="was trained with classes"):
        register(models)


def test_another_classifier_is_another_version(models, unpacked):  # noqa: F811
    classifier(models / "models" / "noisy-classifier", ["zero", "one", "two"])
    assert [register(models)["version"], register(models)["version"]] == ["1", "1"]
    classifier(models / "models" / "noisy-classifier", ["zero", "one", "two"], seed=1)
    assert register(models)["version"] == "2"


@pytest.mark.slow
def test_it_draws_as_registered_wherever_it_is_loaded(models):
    classifier(models / "models" / "noisy-classifier", ["zero", "one", "two"])
    register(models)
    loaded = mlflow.pyfunc.load_model("models:/diffusion-digits/1")
    rows = [{"label": "two"}, {"label": "zero"}]
    pictures = loaded.predict(rows, params={"steps": 3, "seed": 0})

    painter = serving.load("models:/diffusion-digits/1")
    sampling = painter.sampling()
    assert sampling.classifier_scale == 20.0
    painter.check("two", "", 3, sampling)
    served = to_uint8(painter.draw(["two", "zero"], ["", ""], 3, sampling, 0))
    np.testing.assert_array_equal(pictures, served)

    plain = serving.load(str(models / "models" / "diffusion" / "T20"))
    unguided = to_uint8(plain.draw(["two", "zero"], ["", ""], 3, plain.sampling(), 0))
    assert (served != unguided).any(), "the classifier has a part in it"
    with pytest.raises(UserError, match="needs a noisy classifier"):
        plain.check("two", "", 3, sampling)


@pytest.fixture
def judging(models) -> Path:
    """With pictures of the model's three classes prepared, and a judge of them."""
    for number in range(90):
        home = models / "pictures" / CLASSES[number % 3]
        home.mkdir(parents=True, exist_ok=True)
        picture(number, "L", 8, 8).save(home / f"{number}.png")
    asked = digits.params(images={"source": str(models / "pictures")}, feature_net={"batch_size": 16})
    images.prepare(asked, models / "data" / "images")
    learned = digits.trained(feature_task.experiment(asked, models / "data" / "images"), 5)
    config = models / "models" / "diffusion" / "T20" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"classes": CLASSES}))
    digits.save(learned, models / "models" / "feature-net")
    return models


@pytest.mark.slow
def test_it_is_judged_as_registered_whatever_classifier_is_in_place(judging):
    params = build(merge(GUIDED.model_dump(mode="json"), {"evaluation": {"samples": 20, "bootstrap": 10}}))
    place = judging / "models" / "noisy-classifier"
    classifier(place, CLASSES)
    register(judging)
    shutil.rmtree(place)
    first, kept = Present(params).evaluate("models:/diffusion-digits/1")
    shutil.rmtree(kept)
    classifier(place, CLASSES, seed=1)
    again, _ = Present(params).evaluate("models:/diffusion-digits/1")
    assert [point["frechet"] for point in again["points"]] == [point["frechet"] for point in first["points"]]


@pytest.mark.slow
def test_a_folder_s_model_is_judged_again_with_another_classifier_and_after_other_data(judging):
    small = {"evaluation": {"samples": 20, "bootstrap": 10}, "sweep": {"timesteps": [20], "sampling_steps": [2]}}
    params = build(merge(GUIDED.model_dump(mode="json"), small))
    model, found = str(judging / "models" / "diffusion" / "T20"), []
    for seed in (0, 1):
        classifier(judging / "models" / "noisy-classifier", CLASSES, seed)
        found.append(Present(params).evaluate(model))
    assert found[0][0]["points"][0]["frechet"] != found[1][0]["points"][0]["frechet"]
    assert Present(params).evaluate(model)[1] == found[1][1]
    card = judging / "data" / "images" / "card.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"content_hash": "f" * 64}))
    assert Present(params).evaluate(model)[1] != found[1][1]

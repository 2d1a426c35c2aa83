"""Parameters against prepared data: refused in a sentence before anything is trained, by every way to start a training."""

import json
import shutil
from pathlib import Path
from typing import get_args

import pytest
import yaml

from stepladder.cli import main
from stepladder.data import source
from stepladder.data.card import read_card
from stepladder.diffusion.training.task import network
from stepladder.errors import UserError
from stepladder.launching.check import check
from stepladder.params import Diffusion, Params, build, merge, render
from tests.admitted.diffusion import prepared
from tests.admitted.values import nested

GREY = {
    "kind": "images",
    "name": "own",
    "source": "own",
    "shape": [1, 12, 12],
    "classes": ["a", "b"],
    "content_hash": "x",
}
LINES = {"kind": "text", "task": "lines", "counts": {"train": 600}, "content_hash": "x"}
LABELS = {"kind": "text", "task": "labels", "tokens_per_text": {"train": {"longest": 300}}, "content_hash": "x"}
PAIRS = {"kind": "text", "task": "pairs", "tokens_per_sentence": {"train": {"longest": 300}}, "content_hash": "x"}
RUNNING = {"text.task": "lines", "transformer.architecture": "decoder"}
CLASSES = {"text.task": "labels", "transformer.architecture": "encoder"}


def params(changes: dict) -> Params:
    return build(merge(Params().model_dump(mode="json"), nested(changes)))


def card(folder: Path, content: dict) -> Path:
    folder.mkdir(parents=True)
    (folder / "card.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"diffusion.conditional": False, "sampling.guidance_scale": 4}, "there is nothing to guide to; set one of them"),
        ({"diffusion.dit.d_model": 18}, "diffusion.dit.d_model=18 is not a multiple of 4 and of its heads=4"),
        ({"diffusion.dit.d_model": 16, "diffusion.dit.mlp_ratio": 0.01}, "leaves the feed-forward layers no width"),
        ({"diffusion.text_encoder.d_model": 130}, "must be even and a multiple of its heads=4"),
        ({"diffusion.training.batch_size": 5, "diffusion.training.accumulate": 2}, "make it a multiple of 2"),
        ({"vae.training.batch_size": 5, "vae.training.accumulate": 2}, "vae.training.batch_size=5 cannot be divided"),
        ({"diffusion.training.stop_on": "bleu"}, "diffusion.training.stop_on=bleu, which is of sentence pairs"),
        ({"images.size": 6, "diffusion.unet.channel_mult": [1, 1, 1]}, "images.size=6 cannot be halved 2 times"),
        ({"images.size": 6, "diffusion.backbone": "dit", "diffusion.dit.patch": 4}, "diffusion.dit.patch=4"),
        ({"diffusion.unfreeze": ["midle"]}, "names 'midle', and no network of backbone unet has such a part"),
        ({**RUNNING, "transformer.context": 256, "transformer.training.batch_size": 255}, "hold 0 blocks of"),
        ({"transformer.base": "there", "transformer.architecture": "encoder", "text.task": "lines"}, "only a classifier"),
        ({"feature_net.width": 6}, "feature_net.width=6 is not a multiple of 4"),
    ],
)  # fmt: skip
def test_what_the_parameters_alone_refuse(changes, sentence):
    with pytest.raises(UserError) as refused:
        params(changes)
    assert sentence in str(refused.value)


def test_what_a_network_is_not_made_of_may_be_anything():
    """Halving is of the UNet: a DiT asks for none of it."""
    params({"images.size": 6, "diffusion.unet.channel_mult": [1, 1, 1], "diffusion.backbone": "dit"})


@pytest.mark.parametrize(
    ("family", "content", "changes", "sentence"),
    [
        ("diffusion", GREY | {"shape": [1, 5, 5]}, {}, "Pictures of 5x5 cannot be halved 1 times"),
        ("diffusion", GREY, {"diffusion.backbone": "dit", "diffusion.dit.patch": 5}, "of 12x12 cannot be cut into patches"),
        ("diffusion", GREY, {"diffusion.curriculum": [12]}, "curriculum has a side of 12 for pictures of 12x12"),
        ("diffusion", GREY | {"shape": [1, 12, 8]}, {"diffusion.low_resolution": 4}, "the width is a whole number too"),
        ("diffusion", GREY, {"diffusion.text": True, "images.text_column": "said"}, "needs pictures prepared with texts"),
        ("diffusion", GREY | {"classes": []}, {"sampling.guidance_scale": 2}, "have no classes: there is nothing to guide to"),
        ("diffusion", GREY, {"sampling.classifier_scale": 1}, "or run `stepladder train noisy-classifier`"),
        ("diffusion", GREY, {"diffusion.unfreeze": ["down.77"]}, "unfreeze names 'down.77', and the network has no such part"),
        ("noisy-classifier", GREY | {"classes": []}, {}, "have no classes for a noisy classifier"),
        ("noisy-classifier", GREY, {"noisy_classifier.channel_mult": [1] * 4}, "cannot be halved 3 times"),
        ("vae", GREY | {"shape": [1, 6, 6]}, {}, "cannot be halved 2 times"),
        ("gan", GREY | {"shape": [1, 6, 6]}, {}, "cannot be halved 2 times"),
        ("adapted", GREY, {"sampling.classifier_scale": 1}, "set it to 0"),
        ("transformer", LINES, {}, "prepared with text.task=lines and this model needs pairs"),
        ("transformer", LINES, RUNNING | {"transformer.training.batch_size": 512}, None),
        ("transformer", LINES, RUNNING | {"transformer.data_share": 0.5}, "300 tokens, fewer than two blocks of 257"),
        ("transformer", PAIRS, {"transformer.training.batch_size": 300}, "less than the longest target of the training data, 301"),
        ("transformer", LABELS, CLASSES | {"transformer.training.batch_size": 301}, "the training data, 302"),
        ("transformer", PAIRS | {"max_length": 20}, {"transformer.positions": "learned"}, "text.max_length=20; set it to at most 22"),
        ("masked-lm", LINES, RUNNING, "a masked model, which is an encoder"),
        ("masked-lm", LABELS, CLASSES | {"classification.pretraining.batch_size": 301}, "classification.pretraining.batch_size=301"),
    ],
)  # fmt: skip
def test_what_the_prepared_data_refuses(tmp_path, family, content, changes, sentence):
    data = card(tmp_path / "data", content)
    if sentence is None:
        check(family, params(changes), data, classifier=tmp_path / "absent")
        return
    with pytest.raises(UserError) as refused:
        check(family, params(changes), data, classifier=tmp_path / "absent")
    assert sentence in str(refused.value)


def test_devices_count(tmp_path):
    with pytest.raises(UserError, match="for 3 devices; make it a multiple of 3"):
        check("diffusion", params({}), card(tmp_path / "data", GREY), devices=3)


@pytest.mark.parametrize("backbone", get_args(Diffusion.model_fields["backbone"].annotation))
def test_parts_are_those_of_the_networks(backbone, tmp_path):
    """Of all that a network may serve at once: nothing is refused that there is, and nothing admitted that there never is."""
    found: set[str] = set()
    for changes in (
        {},
        {"diffusion.unet.progressive": "both", "diffusion.text": True, "images.text_column": "caption"},
    ):
        changes |= {"diffusion.backbone": backbone, "diffusion.low_resolution": 4}
        data = prepared((1, 8, 8), 3, True, 8, tmp_path / str(len(found)))
        names = network(params(changes), read_card(data)).named_parameters()
        found |= {name.split(".")[0] for name, _ in names}
    assert found == set(getattr(Diffusion(), backbone).PARTS)


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A project whose pictures have no classes, prepared with its parameters."""
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STEPLADDER_TRACKING", "journal")
    (tmp_path / "dvc.yaml").touch()
    shutil.copytree(prepared((1, 8, 8), 0, False, 8, tmp_path / "made"), tmp_path / "data" / "images")
    file = tmp_path / "data" / "images" / "card.json"
    fingerprint = source.reading("images", Params().images)()
    file.write_text(json.dumps(json.loads(file.read_text()) | {"source_fingerprint": fingerprint}))
    (tmp_path / "params.yaml").write_text(
        render(params({"sampling.guidance_scale": 3.0, "diffusion.training.batch_size": 8}))
    )
    return tmp_path


def lock(project: Path, images: dict) -> None:
    stage = {"params": {"params.yaml": {"images": images, "seed": 0}}}
    (project / "dvc.lock").write_text(yaml.safe_dump({"stages": {"prepare@images": stage}}))


def test_every_way_to_start_says_the_same_before_anything_runs(project, capsys):
    lock(project, Params().images.model_dump(mode="json"))
    sentence = "have no classes: there is nothing to guide to; set it to 1."
    study = {
        "question": "?", "seeds": [0], "samplings": [{"steps": [2], "guidance_scale": 3.0}],
        "arms": {"plain": {"family": "diffusion", "timesteps": 4}},
    }  # fmt: skip
    (project / "studies" / "made").mkdir(parents=True)
    (project / "studies" / "made" / "study.yaml").write_text(yaml.safe_dump(study))
    sweep = {"space": {"diffusion.prediction": ["v", "x0"]}, "metric": "frechet", "timesteps": 4}
    (project / "sweeps").mkdir()
    (project / "sweeps" / "made.yaml").write_text(yaml.safe_dump(sweep))
    for command in (
        ["params", "--check"],
        ["train", "diffusion", "--timesteps", "10"],
        ["study", "cell", "made", "plain", "0"],
        ["plan", "--study", "made", "--no-trial"],
        ["sweep", "run", "made"],
    ):
        assert main(command) == 2, command
        assert sentence in capsys.readouterr().err, command
    assert not (project / ".checkpoints").exists()
    assert not list(project.glob("sweeps/made/children/*"))


def test_data_that_was_prepared_with_other_parameters_says_nothing(project, capsys):
    lock(project, Params().images.model_dump(mode="json") | {"source": "elsewhere"})
    assert main(["params", "--check"]) == 0
    assert main(["params", "--check", "-S", "sampling.classifier_scale=1"]) == 2, "whatever is prepared"
    assert "or run `stepladder train noisy-classifier`" in capsys.readouterr().err

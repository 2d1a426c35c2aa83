"""A training's key counts what the card says of the data, which its arrays need not show, and not where the data comes from;
every parameter that it reads and the code that it runs, and no other."""

import json
import shutil
from importlib import import_module
from typing import Any, Literal, get_args, get_origin

import pytest

from stepladder import dependencies
from stepladder.data.preparing.text import prepare
from stepladder.errors import UserError
from stepladder.launching.launch import identity
from stepladder.params import Params, build, flatten, merge
from stepladder.training.families import FAMILIES
from tests.admitted.values import fields, nested
from tests.data.made import card

CARD = {
    "kind": "images", "name": "own", "source": "folder own", "source_fingerprint": "1", "licence": "the user's own",
    "counts": {"train": 8, "test": 2}, "shape": [1, 8, 8], "classes": ["boat", "cat"], "max_length": 128,
    "sigma_data": 0.5, "set_aside": {"count": 0}, "content_hash": "0" * 64,
}  # fmt: skip


def key(folder, **changes):
    folder.mkdir(exist_ok=True)
    (folder / "card.json").write_text(json.dumps(CARD | changes))
    return identity("diffusion", Params(), folder, timesteps=10)


@pytest.mark.parametrize(
    "change", [{"classes": ["ship", "cat"]}, {"max_length": 100}, {"sigma_data": 0.6}, {"content_hash": "1" * 64}]
)
def test_what_the_data_is_counts(tmp_path, change):
    assert key(tmp_path / "data", **change) != key(tmp_path / "data")


@pytest.mark.parametrize("change", [{"source_fingerprint": "2"}, {"source": "folder moved"}, {"licence": "not stated"}])
def test_where_it_comes_from_does_not(tmp_path, change):
    assert key(tmp_path / "data", **change) == key(tmp_path / "data")


TEXT = {"limit": 400, "vocab_size": 100, "tokenizer": "char", "name": "mine"}
ARCHITECTURE = {"pairs": "encoder_decoder", "lines": "decoder", "labels": "encoder"}


@pytest.mark.parametrize("task", ARCHITECTURE)
def test_the_card_has_what_trainings_read_of_the_texts_parameters(tmp_path, task):
    """Whatever params.yaml says by the time of the training."""
    small = {"architecture": ARCHITECTURE[task], "d_model": 16, "d_ff": 32, "context": 64}
    then, now = (
        build({"text": TEXT | {"task": task, "max_length": longest}, "transformer": small}) for longest in (90, 70)
    )
    made, other = prepare(then, tmp_path / "text"), prepare(now, tmp_path / "other")
    assert made == card(tmp_path / "text")
    assert (made["task"], made["name"], made["tokenizer"], made["max_length"]) == (task, "mine", "char", 90)
    assert made.get("languages") == ({"source": "en", "targets": ["uk"]} if task == "pairs" else None)
    assert made["content_hash"] == other["content_hash"], "the arrays do not show it"
    keys = {identity("transformer", now, tmp_path / folder) for folder in ("text", "other")}
    assert len(keys) == 2
    config = import_module(FAMILIES["transformer"].module).experiment(now, tmp_path / "text").task.description
    assert (config.task, getattr(config, "max_length", None)) == (task, None if task == "lines" else 90)
    if task == "labels":
        masked = import_module(FAMILIES["masked-lm"].module).experiment(now, tmp_path / "text").task.description
        assert masked["context"] == 90


AVERAGED = ("diffusion", "vae", "gan", "noisy_classifier", "adaptation", "transformer")
STARTS: tuple[dict[str, Any], ...] = (
    {},
    {
        "text.task": "labels", "transformer.architecture": "encoder", "sweep.timesteps": [10], "sweep.sampling_steps": [1],
        "decoding.method": "sample", "images.text_column": "name", "diffusion.variance": "learned_range",
        "diffusion.loss": "hybrid", "sampling.sampler": "ddim",
        "classification.pretraining.ema_half_life": 0.0, "classification.pretraining.stop_on": "loss",
        **{f"{section}.training.ema_half_life": 0.0 for section in AVERAGED},
    },
    {"diffusion.schedule": "log_snr", "diffusion.log_snr": [5.0, -5.0], "sampling.sampler": "heun"},
    {"diffusion.schedule": "betas", "diffusion.betas": [0.1, 0.2], "sweep.timesteps": [2], "sweep.sampling_steps": [1]},
    {
        "text.task": "lines", "transformer.architecture": "decoder", "transformer.training.batch_size": 4096,
        "sweep.timesteps": [100], **{f"{section}.training.stop_on": "loss" for section in AVERAGED},
    },
)  # fmt: skip


def others(annotation: Any, value: Any) -> list[Any]:
    """Other values of that type, which the rest of the parameters may refuse."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return [word for word in inner if word != value]
    if annotation is bool:
        return [not value]
    if annotation is int:
        return [value + 1, value - 1, 2 * value, value // 2, value + 2, value - 2]
    if annotation is float:
        return [value / 2, value * 1.1, value + 0.1, value * 2, value - 0.1]
    if annotation is str:
        return ["other", f"{value}x", "a/b"]
    assert origin is tuple
    words = get_args(inner[0]) if get_origin(inner[0]) is Literal else ("other", "time")
    longer = [[*value, value[-1]], [*value, value[-1] + 1]] if value and not isinstance(value[-1], str) else []
    return [value[:-1], *longer, *([word] for word in words), [1], [10], [0.5], [0.3, 0.4], [0.9, 0.99], [4.0, -5.0]]


@pytest.fixture(scope="module")
def each_changed() -> dict[str, tuple[Params, Params]]:
    """By each leaf of the parameters: two that differ in it and in nothing else."""
    found: dict[str, tuple[Params, Params]] = {}
    for start in STARTS:
        usual = build(nested(start))
        plain, leaves = usual.model_dump(mode="json"), flatten(usual)
        for key, field in fields(Params):
            for value in others(field.annotation, leaves[key]) if key not in found else []:
                try:
                    params = build(merge(plain, nested({key: value})))
                except UserError:
                    continue
                if {k for k, v in flatten(params).items() if v != leaves[k]} == {key}:
                    found[key] = usual, params
                    break
    return found


def test_every_parameter_can_be_changed_singly_but_what_goes_with_another(each_changed):
    assert set(flatten(Params())) - set(each_changed) == {"diffusion.variance"}


PLACES = {"adaptation.model", "transformer.base"}  # of a model: see below


@pytest.mark.parametrize("family", FAMILIES)
def test_each_parameter_that_is_read_changes_the_key_and_no_other(tmp_path, each_changed, family):
    (tmp_path / "card.json").write_text(json.dumps(CARD))
    reads = FAMILIES[family].reads
    for key in set(each_changed) - PLACES:
        before, after = (identity(family, params, tmp_path) for params in each_changed[key])
        read = key in reads or any(key.startswith(f"{section}.") for section in reads)
        assert (before != after) == read, key


@pytest.mark.parametrize("family", FAMILIES)
def test_the_code_that_it_runs_changes_the_key_and_no_other(tmp_path, monkeypatch, family):
    (tmp_path / "card.json").write_text(json.dumps(CARD))
    copy = tmp_path / "stepladder"
    shutil.copytree(dependencies.HOME, copy, ignore=shutil.ignore_patterns("__pycache__"))
    counted = FAMILIES[family].stage.code()
    monkeypatch.setattr(dependencies, "HOME", copy)
    before = identity(family, Params(), tmp_path)
    module = FAMILIES[family].module.removeprefix("stepladder.").replace(".", "/") + ".py"
    assert {module, "training/worker.py", "data/card.py"} <= set(counted)
    for file in copy.rglob("*.py"):
        text, name = file.read_bytes(), file.relative_to(copy).as_posix()
        file.write_bytes(text + b"# changed\n")
        assert (identity(family, Params(), tmp_path) != before) == (name in counted), name
        file.write_bytes(text)
    assert identity(family, Params(), tmp_path) == before


def test_of_the_model_that_it_starts_from_the_weights_count_and_not_the_place(tmp_path):
    (tmp_path / "card.json").write_text(json.dumps(CARD))
    for place, weights in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "model.safetensors").write_bytes(weights)

    def of(family: str, place: str) -> str:
        model = str(tmp_path / place) if place else ""
        texts = {"text.task": "labels", "transformer.architecture": "encoder", "transformer.base": model}
        return identity(family, build(nested({"adaptation.model": model or "none"} | texts)), tmp_path)

    for family in ("adapted", "transformer"):
        keys = {place: of(family, place) for place in ("", "a", "b", "c")}
        assert keys["a"] == keys["b"]
        assert len(set(keys.values())) == 3

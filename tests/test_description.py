"""What a model's folder says of it: every family's is written and read again, and whatever is wrong with one is a sentence."""

import inspect
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from safetensors.torch import load_file

from stepladder import description
from stepladder.baselines import drawing as baseline
from stepladder.baselines import gan, vae
from stepladder.baselines.adversarial import Generator
from stepladder.baselines.autoencoder import VAE
from stepladder.baselines.description import GANNetwork, VAENetwork
from stepladder.description import FILE, KINDS, VERSION, WEIGHTS, Data, Description, read
from stepladder.diffusion import adaptation, classifier, classifier_task
from stepladder.diffusion.networks.description import NETWORKS, DiffusionDescription, Network, TextEncoderNetwork
from stepladder.diffusion.networks.dit import DiT
from stepladder.diffusion.networks.text_encoder import TextEncoder
from stepladder.diffusion.networks.unet import UNet
from stepladder.diffusion.processes.settings import NoisyClassifierDescription, NoisyClassifierNetwork
from stepladder.diffusion.sampling import loading as diffusion_loading
from stepladder.diffusion.training import task as diffusion_task
from stepladder.errors import UserError
from stepladder.evaluation import feature_task
from stepladder.evaluation.pictures import feature_net
from stepladder.params import build, merge
from stepladder.tasks.experiment import Experiment
from stepladder.text_tasks.tasks import TASKS
from stepladder.training.best import stored
from stepladder.training.worker import _export
from stepladder.transformer import pretraining_task
from stepladder.transformer.blocks.layers import LayerOptions
from stepladder.transformer.networks import trained
from stepladder.transformer.networks.causal_lm import CausalLM
from stepladder.transformer.networks.classifier import TextClassifier
from stepladder.transformer.networks.description import (
    CausalLMNetwork,
    Layers,
    MaskedLMNetwork,
    Seq2SeqNetwork,
    TextClassifierNetwork,
    every,
)
from stepladder.transformer.networks.masked_lm import MaskedLM
from stepladder.transformer.networks.seq2seq import Seq2Seq
from stepladder.transformer.training import task as text_task
from tests import digits
from tests.transformer import texts

DIT = {"backbone": "dit", "dit": {"patch": 2, "d_model": 16, "depth": 1, "heads": 2}}
SMALL = {"channels": 8, "channel_mult": [1, 2], "latent": 4}
LOADED: dict[str, Callable[[Path], tuple[Any, ...]]] = {
    "diffusion": diffusion_loading.load,
    "dit": diffusion_loading.load,
    "adapted": diffusion_loading.load,
    "noisy-classifier": classifier.load,
    "feature-net": feature_net.load,
    "vae": baseline.load,
    "gan": baseline.load,
    "pairs": trained.load,
    "lines": trained.load,
    "labels": trained.load,
    "masked_lm": trained.load,
}


def write(experiment: Experiment, folder: Path) -> None:
    """As the worker does at the end of a training."""
    folder.mkdir()
    if finish := getattr(experiment.task, "finish", None):
        finish(folder)
    _export(experiment, stored(experiment.task.model), folder, {})


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of every kind, as its training writes it, with the weights that it begins with."""
    home = tmp_path_factory.mktemp("described")
    pictures = digits.prepared()
    made = {
        "diffusion": diffusion_task.experiment(digits.params(), pictures, timesteps=20),
        "dit": diffusion_task.experiment(
            digits.params(diffusion=DIT | {"variance": "learned_range", "loss": "vlb"}), pictures, timesteps=5
        ),
        "noisy-classifier": classifier_task.experiment(digits.params(), pictures),
        "feature-net": feature_task.experiment(digits.params(), pictures),
        "vae": vae.experiment(digits.params(vae=SMALL), pictures),
        "gan": gan.experiment(digits.params(gan=SMALL), pictures),
    }
    for task, architecture in (("pairs", "encoder_decoder"), ("lines", "decoder"), ("labels", "encoder")):
        (home / f"{task}-text").mkdir()
        text = texts.prepared(home / f"{task}-text", task, architecture)
        made[task] = text_task.experiment(texts.params(task, architecture), text)
        if task == "labels":
            made["masked_lm"] = pretraining_task.experiment(texts.params(task, architecture), text)
    for name, experiment in made.items():
        write(experiment, home / name)
    own = {"model": str(home / "diffusion"), "rank": 2, "training": {"batch_size": 32}}
    params = build(merge(digits.params().model_dump(mode="json"), {"adaptation": own}))
    write(adaptation.experiment(params, pictures), home / "adapted")
    return {name: home / name for name in LOADED}


def said(folder: Path) -> dict[str, Any]:
    return json.loads((folder / FILE).read_text())


@pytest.fixture
def changed(folders: dict[str, Path], tmp_path: Path) -> Callable[[str, Any], Path]:
    """The folder of a kind whose ``config.json`` is another: bytes, or something that is written as JSON."""

    def change(name: str, content: Any) -> Path:
        folder = tmp_path / name
        if not folder.exists():
            shutil.copytree(folders[name], folder)
        (folder / FILE).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return folder

    return change


def refusal(name: str, folder: Path) -> str:
    """What is said of the ``folder``: one sentence, which names it."""
    with pytest.raises(UserError) as error:
        LOADED[name](folder)
    sentence = str(error.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    assert str(folder) in sentence
    assert len(sentence) < 600 + len(str(folder))
    return sentence


def loads_or_says(name: str, folder: Path) -> bool:
    """Whether it loads; else one sentence says why not, and nothing else is raised."""
    try:
        LOADED[name](folder)
    except UserError as error:
        sentence = str(error)
    else:
        return True
    assert str(folder) in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return False


@pytest.mark.parametrize("name", LOADED)
def test_what_a_training_writes_is_read_as_it_was(folders, name):
    found = LOADED[name](folders[name])[-1]
    written = said(folders[name])
    assert (written["version"], written["family"]) == (VERSION, found.family)
    assert json.loads(found.to_json()) == written
    assert type(found).model_validate_json(found.to_json(), strict=True) == found
    assert description.kind(folders[name]) == found.kind
    assert found.data.content_hash


@pytest.mark.parametrize("name", LOADED)
def test_a_folder_from_before_there_were_versions_is_read(folders, name, changed):
    """Of the families that had no ``family``, too, and with a key at the top that nothing reads any more."""
    older = {key: value for key, value in said(folders[name]).items() if key != "version"} | {"forgotten": 1}
    if name in ("diffusion", "dit", "adapted", "feature-net", *TASKS):
        del older["family"]
    found = LOADED[name](changed(name, older))[-1]
    assert found == LOADED[name](folders[name])[-1]
    assert "forgotten, which no such model has" in refusal(name, changed(name, older | {"version": VERSION}))


def test_what_keys_that_came_later_mean_where_they_are_absent(folders, changed):
    older = said(folders["diffusion"])
    for key in ("version", "family", "process", "log_snr", "betas", "zero_terminal_snr", "variance", "sigma_data"):
        del older[key]
    for key in ("backbone", "vocabulary", "text_length", "text_encoder", "low_resolution", "outputs", "conv"):
        del older["model"][key]
    _, found = diffusion_loading.load(changed("diffusion", older))
    assert (found.process, found.variance, found.sigma_data, found.betas) == ("discrete", "fixed", 0.5, ())
    assert (found.model.backbone, found.model.vocabulary, found.model.low_resolution) == ("unet", 0, 0)
    masked = said(folders["masked_lm"])
    del masked["mask_share"]
    assert trained.load(changed("masked_lm", masked))[-1].mask_share == 0.15
    pairs = {key: value for key, value in said(folders["pairs"]).items() if key not in ("version", "family", "task")}
    assert trained.load(changed("pairs", pairs))[-1].task == "pairs"


def test_numbers_that_name_classes_are_names(folders, changed):
    found = diffusion_loading.load(changed("diffusion", said(folders["diffusion"]) | {"classes": list(range(10))}))[-1]
    assert found.classes == tuple("0123456789")


@pytest.mark.parametrize("name", LOADED)
def test_a_folder_that_lacks_something_is_a_sentence(folders, name, tmp_path):
    assert "there is no such folder" in refusal(name, tmp_path / "absent")
    for file in (FILE, WEIGHTS):
        folder = tmp_path / f"without {file}"
        shutil.copytree(folders[name], folder)
        (folder / file).unlink()
        assert f"it has no {file}" in refusal(name, folder)
        (folder / file).mkdir()
        assert f"it has no {file}" in refusal(name, folder)


@pytest.mark.parametrize("name", LOADED)
def test_damaged_files_are_a_sentence(folders, name, changed, tmp_path):
    whole = (folders[name] / FILE).read_bytes()
    for damage in (
        b"", b" ", b"\x00" * len(whole), b"{", b"[]", b"null", b'"text"', b"7", whole[: len(whole) // 2], whole[:-3],
        whole.replace(b'"', b"'"), b"\xff\xfe" + whole, whole + b"\x00", whole[:20] + b"\x00" + whole[20:], whole * 2,
        whole.replace(b'"classes"', b'"classes\xff"') if b'"classes"' in whole else b"\xff", b"[" * 100_000,
    ):  # fmt: skip
        assert "damaged" in refusal(name, changed(name, damage))
    folder = changed(name, whole)
    weights = (folder / WEIGHTS).read_bytes()
    for damage in (b"", weights[: len(weights) // 2], b"\x00" * 100, weights[:8] + b"\xff" * 50):
        (folder / WEIGHTS).write_bytes(damage)
        assert "weights are damaged" in refusal(name, folder)


def places(value: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Of every key and item in ``value``."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value[:2]):
        yield (*where, key)
        if isinstance(inner, (dict, list)):
            yield from places(inner, (*where, key))


def put(value: Any, where: tuple[Any, ...], *new: Any) -> Any:
    """A copy of ``value`` with ``new`` at that place, or nothing."""
    copy = json.loads(json.dumps(value))
    inner = copy
    for part in where[:-1]:
        inner = inner[part]
    if new:
        inner[where[-1]] = new[0]
    else:
        del inner[where[-1]]
    return copy


@pytest.mark.parametrize("name", LOADED)
@pytest.mark.parametrize("versioned", [True, False])
def test_a_description_without_a_key_loads_or_is_a_sentence(folders, name, versioned, changed):
    written = said(folders[name])
    if not versioned:
        del written["version"]
    loaded = set()
    for where in places(written):
        if loads_or_says(name, changed(name, put(written, where))):
            loaded.add(where[0])
    assert loaded >= {"data"}
    if "classes" in written:
        assert "its config.json lacks classes" in refusal(name, changed(name, put(written, ("classes",))))


@pytest.mark.parametrize("name", LOADED)
def test_a_strange_value_at_any_key_loads_or_is_a_sentence(folders, name, changed):
    """A wrong type is never taken for a right one; a wrong value may be a network that its weights do not fit."""
    written, chance = said(folders[name]), random.Random(f"strange {name}")
    values = [None, True, -1, 0, 3, 0.5, 10**30, "x", "", "4", [], [1], ["a", 2], {}, {"a": 1}, [[]], "\ud800"]
    for where in places(written):
        old = written
        for part in where:
            old = old[part]
        for new in chance.sample(values, 6):
            loaded = loads_or_says(name, changed(name, put(written, where, new)))
            scalar = isinstance(old, (bool, int, float, str)) and not isinstance(new, (bool, int, float, str))
            assert not (loaded and scalar and new is not None), (where, new)
    for where, new in ((("model", "shape"), "x"), (("model", "layers"), "4"), (("model", "d_model"), True)):
        if where[1] in written["model"]:
            sentence = refusal(name, changed(name, put(written, where, new)))
            assert f"has {'.'.join(where)}={json.dumps(new)}: " in sentence


@pytest.mark.parametrize("name", LOADED)
def test_a_model_of_another_family_is_named_with_what_uses_it(folders, name):
    for other, folder in folders.items():
        kind = description.kind(folder)
        if LOADED[other] is LOADED[name]:
            continue
        sentence = refusal(name, folder)
        assert f"holds a{'n' * (KINDS[kind].title[0] in 'aeiou')} {KINDS[kind].title}, not a" in sentence
        assert KINDS[kind].use in sentence
    for task in every():
        if name in TASKS and task.kind != name:
            with pytest.raises(UserError, match=f"a {KINDS[name].title}, not a {KINDS[task.kind].title}"):
                trained.load(folders[name], task)


@pytest.mark.parametrize("name", LOADED)
def test_one_of_a_newer_stepladder_is_a_sentence(folders, name, changed):
    newer = said(folders[name]) | {"version": VERSION + 1, "more": {}}
    assert "made by a newer stepladder" in refusal(name, changed(name, newer))
    for strange in (0, -1, "2", None, 1.5, True, []):
        assert "which is none" in refusal(name, changed(name, newer | {"version": strange}))


def test_any_kind_is_told_or_said(folders, changed, tmp_path):
    assert {description.kind(folder) for folder in folders.values()} == KINDS.keys()
    for content in ({"width": 8}, {}, {"family": 3}, {"family": "pairs"}, {"family": "songs"}, {"task": ["pairs"]}):
        with pytest.raises(UserError, match="does not say of which family it is"):
            description.kind(changed("diffusion", content))
    with pytest.raises(UserError, match="holds no trained model that can be loaded: there is no such folder"):
        description.kind(tmp_path / "absent")


def test_a_process_or_backbone_that_is_not_there_is_a_sentence(folders, changed):
    written = said(folders["diffusion"])
    for where, said_of_it in (
        (("process",), "no process 'x'; there are: discrete"),
        (("schedule",), "no schedule 'x'; there are: linear"),
        (("model", "backbone"), "the backbones unet and dit"),
    ):
        assert said_of_it in refusal("diffusion", changed("diffusion", put(written, where, "x")))
    assert "no backbone 'own'" in refusal(
        "diffusion", changed("diffusion", written | {"model": {"backbone": "own", "shape": [1, 8, 8]}})
    )


def test_descriptions_are_frozen(folders):
    found = read(folders["diffusion"], DiffusionDescription)
    with pytest.raises(ValidationError, match="frozen"):
        found.timesteps = 3
    with pytest.raises(ValidationError, match="frozen"):
        found.model.classes = 3
    assert hash(found) == hash(read(folders["diffusion"], DiffusionDescription))
    assert Data.of({"name": "a", "source": "b", "content_hash": "c", "shape": 3}) == Data(
        name="a", source="b", content_hash="c"
    )


@pytest.mark.parametrize(
    ("record", "made"),
    [
        (NETWORKS["unet"], UNet), (NETWORKS["dit"], DiT), (TextEncoderNetwork, TextEncoder), (GANNetwork, Generator), (VAENetwork, VAE),
        (NoisyClassifierNetwork, classifier.NoisyClassifier), (feature_net.FeatureNetwork, feature_net.Classifier),
        (Seq2SeqNetwork, Seq2Seq), (CausalLMNetwork, CausalLM), (MaskedLMNetwork, MaskedLM), (TextClassifierNetwork, TextClassifier),
    ],
)  # fmt: skip
def test_what_a_network_takes_is_described_with_its_own_defaults(record, made):
    wanted = {name: p for name, p in inspect.signature(made).parameters.items() if name != "options"}
    if issubclass(record, Layers):
        wanted |= {name: p for name, p in inspect.signature(LayerOptions).parameters.items() if name not in wanted}
    fields = {name: field for name, field in record.model_fields.items() if name != "backbone"}
    told = {"vocabulary", "length"} if made is TextEncoder else set()  # by the network that it is a part of
    assert fields.keys() >= wanted.keys() - told
    assert fields.keys() <= wanted.keys()
    for name, field in fields.items():
        if field.is_required():
            assert wanted[name].default is inspect.Parameter.empty, name
        elif wanted[name].default is not inspect.Parameter.empty:
            assert field.default == wanted[name].default, name


def test_weights_are_those_that_were_saved(folders):
    for name, folder in folders.items():
        state = LOADED[name](folder)[0].state_dict()
        assert all((state[key] == weight).all() for key, weight in load_file(folder / WEIGHTS).items()), name


def test_every_kind_has_its_record():
    def below(record: type[Description]) -> Iterator[type[Description]]:
        for inner in record.__subclasses__():
            yield inner
            yield from below(inner)

    known = {
        record.kind
        for record in below(Description)
        if hasattr(record, "kind") and record.__module__.startswith("stepladder")
    }
    assert known == KINDS.keys()
    assert issubclass(NoisyClassifierDescription, Description)
    assert Network(shape=(1, 8, 8)).backbone == "own"

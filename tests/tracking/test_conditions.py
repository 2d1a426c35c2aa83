"""Models that are asked for more than a class: what is registered of them, and how they answer."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from stepladder.data.tokenizer import train
from stepladder.diffusion.networks.backbones import build as network
from stepladder.diffusion.networks.description import described
from stepladder.errors import UserError
from stepladder.params import build
from stepladder.tracking import loadable, registry, store
from tests.tracking import made
from tests.tracking.test_registry import unpacked  # noqa: F401

QUICK = build({"decoding": {"beam_size": 2, "max_length": 8}})


@pytest.fixture
def models(project) -> Path:
    made.diffusion(project / "models" / "diffusion" / "T20")
    made.translation(project / "models" / "transformer")
    made.comparison(project / "reports")
    return project


def reads_texts(folder: Path) -> None:
    """Make the model in ``folder`` one that was trained on classes and texts."""
    tokenizer = train(["grinning cat", "grinning dog"], "bpe", 64)
    tokenizer.save(str(folder / "tokenizer.json"))
    encoder = {"d_model": 16, "depth": 1, "heads": 2, "dropout": 0.0}
    change(folder, vocabulary=tokenizer.get_vocab_size(), text_length=8, text_encoder=encoder)
    torch.manual_seed(0)
    model = network(described(json.loads((folder / "config.json").read_text())["model"]))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    save_file({name: weight.contiguous() for name, weight in model.state_dict().items()}, folder / "model.safetensors")


def change(folder: Path, **network) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["model"] |= network
    (folder / "config.json").write_text(json.dumps(config))


def registered(project: Path) -> list[str]:
    found = registry.register(QUICK, project / "models", project / "reports")["models"]
    return [model["name"] for model in found]


def test_a_model_that_enlarges_pictures_is_left_out(models, unpacked):  # noqa: F811
    change(models / "models" / "diffusion" / "T20", low_resolution=4)
    assert registered(models) == ["transformer-names"]


def test_a_model_that_reads_texts_is_asked_for_a_class_and_a_word(models, unpacked):  # noqa: F811
    reads_texts(models / "models" / "diffusion" / "T20")
    assert "diffusion-digits" in registered(models)
    how = store.client().get_registered_model("diffusion-digits").description
    assert '.predict([{"label": "zero", "text": "grinning"}])' in how


IN_A_FRESH_PROCESS = """
import json, sys
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/diffusion-digits@champion")
cats = model.predict({"label": ["two", "two"], "text": ["a cat", "a cat"]}, params={"steps": 3})
dogs = model.predict({"label": ["two", "two"], "text": ["a dog", "a dog"]}, params={"steps": 3})
ddim = model.predict({"label": ["two", "two"], "text": ["a cat", "a cat"]}, params={"steps": 3, "sampler": "ddim"})
refusals = []
for wrong in ({"label": "two", "text": ""}, {"label": "four", "text": "a cat"}):
    try:
        model.predict([wrong])
    except mlflow.exceptions.MlflowException as error:
        refusals.append(str(error))
print(json.dumps({
    "shape": cats.shape, "texts": bool((cats != dogs).any()), "sampler": bool((cats != ddim).any()), "refusals": refusals,
}))
"""


@pytest.mark.slow
def test_a_model_that_reads_texts_is_loaded_without_pickle_in_a_fresh_process(models):
    reads_texts(models / "models" / "diffusion" / "T20")
    assert "diffusion-digits" in registered(models)
    environment = os.environ | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-c", IN_A_FRESH_PROCESS, store.uri()]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    refusals = answer.pop("refusals")
    assert answer == {"shape": [2, 1, 8, 8], "texts": True, "sampler": True}
    assert "give both" in refusals[0]
    assert "does not know the class four; it knows: zero, one, two" in refusals[1]


@pytest.mark.parametrize(
    "given",
    [
        {"label": ["a", "b"], "text": ["c", "d"]},
        [{"label": "a", "text": "c"}, {"label": "b", "text": "d"}],
        pd.DataFrame({"label": [["a", "b"]], "text": [["c", "d"]]}),
    ],
    ids=["dictionary", "records", "one row of lists"],
)
def test_a_request_is_a_table_however_it_is_written(given):
    pd.testing.assert_frame_equal(
        loadable.table(given), pd.DataFrame({"label": ["a", "b"], "text": ["c", "d"]}), check_dtype=False
    )


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(UserError, match=r"different lengths \(label: 2, text: 1\)"):
        loadable.table(pd.DataFrame({"label": [["a", "b"]], "text": [["c"]]}))

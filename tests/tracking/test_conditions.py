"""Models that are asked for more than a class: what is registered of them, and how they answer."""

import json
from pathlib import Path

import pandas as pd
import pytest

from stepladder.data.tokenizer import train
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
    folder = models / "models" / "diffusion" / "T20"
    tokenizer = train(["grinning cat", "grinning dog"], "bpe", 64)
    tokenizer.save(str(folder / "tokenizer.json"))
    change(folder, vocabulary=tokenizer.get_vocab_size(), text_length=8)
    assert "diffusion-digits" in registered(models)
    how = store.client().get_registered_model("diffusion-digits").description
    assert '.predict([{"label": "zero", "text": "grinning"}])' in how


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

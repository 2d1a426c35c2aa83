import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from stepladder.data import tokenizer
from stepladder.data.preparing.lines import encode
from stepladder.data.preparing.text import prepare
from stepladder.errors import UserError
from stepladder.params import build
from tests.data.made import card, contents, sentence
from tests.data.mirror import table_repository

SPLITS = ("train", "validation", "test")


def lines_params(source, **text):
    return build(
        {
            "text": {"task": "lines", "source": str(source), "vocab_size": 100, **text},
            "transformer": {"architecture": "decoder"},
        }
    )


def play(count=300):
    return "".join(f"Speaker {n % 7}:\n  {sentence(n, 'en').capitalize()}!\n\n" for n in range(count))


@pytest.mark.parametrize("kind", ["char", "bpe", "unigram"])
def test_a_file_is_split_in_order_and_read_to_the_letter(tmp_path, kind):
    text = play()
    (tmp_path / "own.txt").write_text(text, encoding="utf-8")
    made = prepare(lines_params(tmp_path / "own.txt", tokenizer=kind), tmp_path / "text")
    folder = tmp_path / "text"
    read = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = {split: np.load(folder / f"{split}.npy") for split in SPLITS}
    assert "".join(read.decode(ids[split].tolist()) for split in SPLITS) == text
    assert made["counts"] == {split: len(i) for split, i in ids.items()}
    assert sum(made["characters"].values()) == len(text)
    assert (folder / "test.txt").read_text(encoding="utf-8") == read.decode(ids["test"].tolist())
    assert (made["task"], made) == ("lines", card(folder))
    if kind == "char":
        assert made["counts"] == made["characters"]
    else:
        assert made["counts"]["train"] < 0.8 * made["characters"]["train"]


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=60))
def test_any_running_text_comes_back(text):
    text = unicodedata.normalize("NFC", text)
    read = tokenizer.train(["Some text,\n", "and more\n\n", " of it"], "bpe", 64, running=True)
    assert read.decode(encode(read, text)) == text


def test_the_default_source_needs_no_download(tmp_path):
    made = prepare(lines_params("names"), tmp_path / "text")
    assert made["name"] == "names"
    assert sum(made["counts"].values()) > 50_000
    prepare(lines_params("names"), tmp_path / "again")
    assert contents(tmp_path / "text") == contents(tmp_path / "again")


def test_a_column_of_a_data_set(tmp_path, monkeypatch):
    rows = {"train": [play(50), None, "a\r\nb"], "test": [play(60)], "test_other": [play(20)]}
    table_repository(tmp_path / "mirror" / "speech", {split: {"body": texts} for split, texts in rows.items()})
    monkeypatch.setenv("STEPLADDER_MIRROR", str(tmp_path / "mirror"))
    made = prepare(lines_params("speech", text_column="body", tokenizer="char"), tmp_path / "text")
    assert made["set_aside"]["reasons"] == {"not text": 1}
    assert list(made["counts"]) == ["train", "validation", "test", "test_other"]
    assert made["characters"]["train"] + made["characters"]["validation"] == len(play(50) + "a\nb\n")
    assert (tmp_path / "text" / "test.txt").read_text() == play(60)
    with pytest.raises(UserError, match=r"has no column text; it has body: name one of them in text.text_column"):
        prepare(lines_params("speech"), tmp_path / "text")


def test_too_little_text_is_refused(tmp_path):
    (tmp_path / "own.txt").write_text("one\ntwo\n")
    with pytest.raises(UserError, match=r"The \w+ split has \d+ tokens and needs at least 32"):
        prepare(lines_params(tmp_path / "own.txt"), tmp_path / "text")
    (tmp_path / "own.txt").write_bytes(b"\xff")
    with pytest.raises(UserError, match="is not UTF-8"):
        prepare(lines_params(tmp_path / "own.txt"), tmp_path / "text")
    with pytest.raises(UserError, match="cannot be read"):
        prepare(lines_params(tmp_path / "absent.txt"), tmp_path / "text")

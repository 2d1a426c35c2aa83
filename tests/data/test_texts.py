"""Texts beside pictures."""

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepladder.data import texts
from stepladder.data.image_arrays import ImageArrays
from stepladder.data.preparing.images import prepare
from stepladder.data.tokenizer import train
from stepladder.errors import UserError
from stepladder.params import Params
from tests.data.made import CLASSES, card, contents, image_params, picture, picture_folder, pixels, sentence

COUNT = 48
TEXT = datasets.Value("string")


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    monkeypatch.setenv("STEPLADDER_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "mirror"


def repository(folder, changed=None, kind=TEXT, test_from=100):
    """Pictures of numbers with the number in words; the numbers of the test split start at ``test_from``."""
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n")
    for split, first in (("train", 0), ("test", test_from)):
        numbers = range(first, first + (COUNT if split == "train" else 12))
        rows = {
            "image": [picture(n) for n in numbers],
            "style": [n % 2 for n in numbers],
            "name": [sentence(n, "en") if kind is TEXT else n for n in numbers],
        }
        if split == "train":
            for row, value in (changed or {}).items():
                rows["name"][row] = value
        features = {"image": datasets.Image(), "style": datasets.ClassLabel(names=list(CLASSES)), "name": kind}
        made = datasets.Dataset.from_dict(rows, features=datasets.Features(features))
        made.to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    return folder


def with_texts(**images):
    small = {"text_column": "name", "text_vocab_size": 64, "text_length": 16}
    return image_params("numbers", **small | images)


def test_texts_go_with_their_pictures(tmp_path, mirror):
    repository(mirror / "numbers", {3: "  zero\tzero \n three"})
    made = prepare(with_texts(), tmp_path / "images")
    tokenizer = texts.tokenizer_of(tmp_path / "images")
    assert made == card(tmp_path / "images")
    assert made["text"] == {
        "column": "name", "vocabulary": tokenizer.get_vocab_size(), "length": 16, "cut": {"train": 0, "test": 0},
        "seen_in_training": {"test": 0},
    }  # fmt: skip
    for split, first in (("train", 0), ("test", 100)):
        arrays = ImageArrays.open(tmp_path / "images", split)
        number = {pixels(n).transpose(2, 0, 1).tobytes(): n for n in range(first, first + len(arrays.labels))}
        shown = [sentence(number[image.tobytes()], "en") for image in arrays.images]
        assert texts.read(tmp_path / "images", split) == shown
        assert arrays.texts.dtype == np.int64
        assert arrays.texts.shape == (len(shown), 16)
        assert [tokenizer.decode(row[row > 0].tolist()) for row in arrays.texts] == shown


def test_the_vocabulary_is_learnt_from_the_training_texts(tmp_path, mirror):
    repository(mirror / "numbers", test_from=999 - 11)  # "nine" is everywhere, and not in training
    prepare(with_texts(limit=10), tmp_path / "images")
    learnt = {token.strip("▁") for token in texts.tokenizer_of(tmp_path / "images").get_vocab()}
    assert {"zero", "three"} <= learnt
    assert "nine" not in learnt


def test_the_same_source_gives_the_same_bytes(tmp_path, mirror):
    repository(mirror / "numbers")
    for name in ("one", "two"):
        prepare(with_texts(), tmp_path / name)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_without_a_text_column_everything_is_as_it_was(tmp_path, mirror):
    made = prepare(Params(), tmp_path / "digits")
    assert made["content_hash"] == "b821d574f588d34601c3e8735fbc81625f1ec0a63aaddad55e26c550d063c5e2"
    assert "text" not in made
    assert ImageArrays.open(tmp_path / "digits", "train").texts is None
    repository(mirror / "numbers")
    prepare(image_params("numbers"), tmp_path / "without")
    prepare(with_texts(), tmp_path / "with")
    without, beside = contents(tmp_path / "without"), contents(tmp_path / "with")
    assert set(beside) - set(without) == {
        "tokenizer.json", "train_texts.npy", "test_texts.npy", "train_texts.txt", "test_texts.txt",
    }  # fmt: skip
    assert all(beside[name] == bytes_ for name, bytes_ in without.items() if name != "card.json")


def test_overlong_texts_are_cut_and_counted(tmp_path, mirror):
    repository(mirror / "numbers", {5: "one two " * 20})
    made = prepare(with_texts(), tmp_path / "images")
    assert made["text"]["cut"] == {"train": 1, "test": 0}
    assert (ImageArrays.open(tmp_path / "images", "train").texts[5] > 0).all()


@pytest.mark.parametrize(
    ("value", "reason"), [(None, "no text"), ("", "empty text"), (" \n ", "empty text")], ids=["none", "empty", "blank"]
)
def test_a_row_without_text_is_a_bad_row(tmp_path, mirror, value, reason):
    repository(mirror / "numbers", {7: value})
    with pytest.raises(UserError, match=f"Row 7 .* of train: {reason}; mend the data"):
        prepare(with_texts(), tmp_path / "images")
    made = prepare(with_texts(on_bad_row="set-aside"), tmp_path / "images")
    assert made["set_aside"]["reasons"] == {reason: 1}
    assert made["counts"]["train"] == COUNT - 1
    assert sentence(7, "en") not in texts.read(tmp_path / "images", "train")


def test_columns_that_hold_no_texts_are_refused(tmp_path, mirror):
    repository(mirror / "numbers", kind=datasets.Value("int64"))
    with pytest.raises(UserError, match=r"images\.text_column=nam: numbers has the columns image, style, name"):
        prepare(with_texts(text_column="nam"), tmp_path / "images")
    for column in ("name", "style", "image"):
        with pytest.raises(UserError, match=rf"images\.text_column={column} of numbers holds no texts but"):
            prepare(with_texts(text_column=column), tmp_path / "images")


def test_sources_without_columns_have_no_texts(tmp_path):
    for source in ("digits", picture_folder(tmp_path / "own")):
        with pytest.raises(UserError, match=r"images\.text_column=name: .* no columns of text"):
            prepare(image_params(source, text_column="name"), tmp_path / "images")


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cn"]), min_size=1), st.integers(1, 12))
def test_every_text_is_encoded_in_its_length(text, length):
    try:
        cleaned = texts.clean(text)
    except ValueError:
        assert not text.split()
        return
    assert texts.clean(cleaned) == cleaned
    assert len(cleaned.splitlines()) == 1
    (row,) = texts.encode(TOKENIZER, [cleaned], length)
    used = int((row > 0).sum())
    assert row.shape == (length,)
    assert used >= 1
    assert (row[:used] > 0).all(), "padding is at the end"
    if used < length:
        assert TOKENIZER.decode(row[:used].tolist()) == cleaned


def test_half_a_surrogate_pair_is_no_text():
    with pytest.raises(ValueError, match="half of a surrogate pair"):
        texts.clean("a \ud83d")


def test_no_text_is_all_padding():
    assert not texts.encode(TOKENIZER, [""], 5).any()


def test_a_damaged_tokenizer_is_one_sentence(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{")
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UserError, match=r"tokenizer\.json cannot be read"):
            texts.tokenizer_of(folder)


TOKENIZER = train((sentence(n, "en") for n in range(200)), "bpe", 64)

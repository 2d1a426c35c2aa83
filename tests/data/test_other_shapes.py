"""Sources that are laid out in less usual ways."""

import socket

import datasets
import numpy as np
import pytest
from PIL import Image

from stepladder.data.image_arrays import ImageArrays
from stepladder.data.preparing import pairs, pictures
from stepladder.data.preparing.bad_rows import BadRows
from stepladder.data.preparing.images import prepare
from stepladder.errors import UserError
from stepladder.params import build
from tests.data.made import DIGITS, image_params, picture, picture_folder, text_params
from tests.data.mirror import pairs_repository, pictures_repository


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    folder = tmp_path / "mirror"
    folder.mkdir()
    monkeypatch.setenv("STEPLADDER_MIRROR", str(folder))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return folder


def _repository(folder, rows, features):
    (folder / "data").mkdir(parents=True)
    made = datasets.Dataset.from_dict(rows, features=datasets.Features(features))
    made.to_parquet(folder / "data" / "train-00000-of-00001.parquet")


def test_a_mirror_is_read_without_a_network(mirror, monkeypatch):
    def no_network(*args, **kwargs):
        raise AssertionError("asked for a network")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setattr(socket.socket, "connect", no_network)
    pairs_repository(mirror / "numbers")
    pictures_repository(mirror / "tiny")
    assert pairs.read(text_params("someone/numbers").text, BadRows("refuse", "")).splits["train"]
    assert pictures.read(image_params("someone/tiny").images).splits["train"].count == 60


def test_texts_by_language_in_one_column(mirror):
    cells = [{"en": a, "de": b} for a, b in zip(DIGITS["en"], DIGITS["de"], strict=True)]
    cells[3] = {"en": "three", "de": None}
    features = {"translation": datasets.Translation(languages=("en", "de"))}
    _repository(mirror / "numbers", {"translation": cells}, features)
    bad = BadRows("set-aside", "text.on_bad_row")
    found = pairs.read(text_params("numbers", target_languages=["de"]).text, bad)
    assert [(p.source, p.target, p.row) for p in found.splits["train"]][2:4] == [
        ("two", "zwei", 2),
        ("four", "vier", 4),
    ]
    assert [row["row"] for row in bad.rows] == [3]
    with pytest.raises(UserError, match=r"numbers has no column uk; it has .*en"):
        pairs.read(text_params("numbers").text, bad)


def test_of_two_class_columns_one_must_be_named(mirror):
    rows = {"image": [picture(n) for n in range(60)], "fine": [n % 4 for n in range(60)], "coarse": [0, 1] * 30}
    features = {
        "image": datasets.Image(),
        "fine": datasets.ClassLabel(names=list("abcd")),
        "coarse": datasets.ClassLabel(names=["x", "y"]),
    }
    _repository(mirror / "tiny", rows, features)
    with pytest.raises(UserError, match=r"2 class columns \(fine, coarse\).* images.label_column"):
        pictures.read(image_params("tiny").images)
    assert pictures.read(image_params("tiny", label_column="coarse").images).classes == ["x", "y"]


def test_a_picture_without_a_class_among_pictures_with_one_is_a_bad_row(mirror, tmp_path):
    labels = [n % 2 for n in range(60)]
    labels[5], labels[6] = None, -1
    rows = {"image": [picture(n) for n in range(60)], "label": labels}
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["boat", "cat"])}
    _repository(mirror / "tiny", rows, features)
    made = prepare(image_params("tiny", on_bad_row="set-aside"), tmp_path / "images")
    assert [(row["row"], row["reason"]) for row in made["set_aside"]["rows"]] == [(5, "no class"), (6, "no class")]
    assert sum(made["counts"].values()) == 58


def test_what_is_transparent_shows_white_where_there_is_no_such_channel(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    for n in range(60):
        clear = Image.new("RGBA", (8, 8), (10, n, 30, 0))
        clear.paste((10, n, 30, 255), (0, 0, 8, 4))
        clear.save(folder / f"{n:02}.png")
    prepare(image_params(folder, channels=3), tmp_path / "images")
    images = ImageArrays.open(tmp_path / "images", "train").images
    assert images[:, :, 4:].min() == 255
    assert set(images[:, 0, :4].ravel()) == {10}


def test_photographs_stand_upright(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned right by a quarter
    for n in range(60):
        lying = Image.new("L", (16, 8), 0)
        lying.paste(255, (0, 0, 8, 8))  # the left half, which comes to lie above
        lying.save(folder / f"{n:02}.jpg", exif=turned, quality=100)
    made = prepare(image_params(folder), tmp_path / "images")
    images = ImageArrays.open(tmp_path / "images", "train").images
    assert made["shape"] == [1, 16, 8]
    assert images[:, :, :8].min() > 250
    assert images[:, :, 8:].max() < 5


def test_a_class_s_only_picture_is_for_training(tmp_path):
    folder = picture_folder(tmp_path / "own")
    (folder / "dog").mkdir()
    picture(99).save(folder / "dog" / "only.png")
    prepare(image_params(folder), tmp_path / "images")
    held_out = ImageArrays.open(tmp_path / "images", "test").labels
    assert set(held_out) == {0, 1}
    assert np.bincount(ImageArrays.open(tmp_path / "images", "train").labels)[2] == 1


@pytest.mark.parametrize("targets", [["en"], ["uk", "uk"], ["uk", ""]])
def test_a_language_named_twice_or_not_at_all_is_refused(targets):
    with pytest.raises(UserError, match="name a language twice, or none"):
        build({"text": {"target_languages": targets}})

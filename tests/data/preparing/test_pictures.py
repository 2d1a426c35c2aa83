import datasets
import numpy as np
import pytest

from stepladder.data.preparing import pictures
from stepladder.errors import UserError
from tests.data.made import CLASSES, image_params, picture, picture_folder, pixels
from tests.data.mirror import pictures_repository


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    monkeypatch.setenv("STEPLADDER_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "mirror"


def _read(source, **images):
    return pictures.read(image_params(source, **images).images)


def _pixels(split, row):
    return np.asarray(split.open(row).convert("RGB"))


def test_subfolders_are_classes(tmp_path):
    source = _read(picture_folder(tmp_path / "own"))
    assert source.classes == list(CLASSES)
    assert list(source.splits) == ["train"]
    train = source.splits["train"]
    assert train.count == 60
    assert list(train.labels) == [0] * 30 + [1] * 30
    assert np.array_equal(_pixels(train, 0), pixels(0))
    assert np.array_equal(_pixels(train, 31), pixels(3))
    assert str(tmp_path) not in source.origin, "the card is the same wherever the folder lies"


def test_pictures_side_by_side_have_no_classes(tmp_path):
    source = _read(picture_folder(tmp_path / "own", classes=()))
    assert source.classes == []
    assert set(source.splits["train"].labels) == {-1}
    assert source.splits["train"].count == 60


def test_folders_named_train_and_test_are_splits(tmp_path):
    picture_folder(tmp_path / "own" / "train", 40)
    picture_folder(tmp_path / "own" / "test", 20)
    source = _read(tmp_path / "own")
    assert {name: split.count for name, split in source.splits.items()} == {"train": 40, "test": 20}
    assert source.classes == list(CLASSES)


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "own").mkdir()
    with pytest.raises(UserError, match=r"own.* holds no"):
        _read(tmp_path / "own")


def test_a_file_that_is_no_picture_is_a_row_like_others(tmp_path):
    folder = picture_folder(tmp_path / "own", classes=())
    (folder / "notes.txt").write_text("no picture")
    (folder / ".DS_Store").write_text("not looked at")
    split = _read(folder).splits["train"]
    assert split.count == 61
    with pytest.raises(OSError, match="cannot identify"):
        split.open(60).load()
    assert split.where(60) == "notes.txt"


def test_pictures_beside_the_folders_of_classes_are_refused(tmp_path):
    folder = picture_folder(tmp_path / "own")
    picture(0).save(folder / "stray.png")
    with pytest.raises(UserError, match=r"stray\.png"):
        _read(folder)


def test_a_hub_data_set(mirror):
    pictures_repository(mirror / "tiny")
    source = _read("someone/tiny")
    assert source.classes == list(CLASSES)
    assert (source.name, source.licence) == ("tiny", "cc-by-4.0")
    assert {name: split.count for name, split in source.splits.items()} == {"train": 60, "test": 60}
    assert list(source.splits["train"].labels) == [n % 2 for n in range(60)]
    assert np.array_equal(_pixels(source.splits["train"], 7), pixels(7))


def test_a_validation_split_serves_where_there_is_no_test(mirror):
    pictures_repository(mirror / "tiny", splits=("train", "validation"))
    assert set(_read("tiny").splits) == {"train", "test"}
    pictures_repository(mirror / "other", splits=("test",))
    with pytest.raises(UserError, match="no split named train; it has test"):
        _read("other")


def test_columns_by_name(mirror):
    pictures_repository(mirror / "tiny", columns=("img", "kind"), label=datasets.Value("int64"))
    source = _read("tiny", label_column="kind")
    assert source.classes == ["0", "1"]
    assert list(source.splits["train"].labels) == [n % 2 for n in range(60)]
    without = _read("tiny", image_column="img")
    assert without.classes == []
    assert set(without.splits["train"].labels) == {-1}


@pytest.mark.parametrize("key", ["image_column", "label_column"])
def test_an_unknown_column_is_refused_with_those_there_are(mirror, key):
    pictures_repository(mirror / "tiny")
    with pytest.raises(UserError, match=rf"images.{key}=absent: tiny has the columns image, label"):
        _read("tiny", **{key: "absent"})


def test_a_data_set_without_pictures_is_refused(mirror):
    (mirror / "words").mkdir(parents=True)
    (mirror / "words" / "train.jsonl").write_text('{"word": "a"}\n')
    with pytest.raises(UserError, match="has 0 picture columns"):
        _read("words")


def test_a_mirror_says_which_rows_come_from_jpeg(mirror):
    folder = pictures_repository(mirror / "tiny")
    assert _read("someone/tiny").note == ""
    (folder / "jpeg_rows.json").write_text('{"note": "0-based", "train": [3, 5, 8], "test": [1]}')
    assert _read("someone/tiny").note.startswith("3 train and 1 test rows of the source come from JPEG copies")

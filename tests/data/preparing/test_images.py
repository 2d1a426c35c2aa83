from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from stepladder.data.image_arrays import ImageArrays
from stepladder.data.preparing import pictures
from stepladder.data.preparing.images import prepare
from stepladder.errors import UserError
from stepladder.params import Params, build
from stepladder.params.fitting import trainable
from tests.data.made import CLASSES, card, contents, image_params, picture, picture_folder, pixels


def _rows(arrays):
    return {image.tobytes() for image in arrays.images}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits") / "images"
    return folder, prepare(Params(), folder)


def test_digits_are_sklearn_s(digits):
    folder, made = digits
    truth = load_digits()
    grey = np.round(truth.images * 255 / 16).astype(np.uint8)
    label = {image.tobytes(): int(target) for image, target in zip(grey, truth.target, strict=True)}
    train, test = (ImageArrays.open(folder, split) for split in ("train", "test"))
    assert made["counts"] == {"train": len(train.images), "test": len(test.images)}
    assert sum(made["counts"].values()) == len(grey) == 1797
    both = np.concatenate([train.images, test.images])
    assert both.dtype == np.uint8
    assert both.shape[1:] == tuple(made["shape"]) == (1, 8, 8)
    assert sorted(image.tobytes() for image in both) == sorted(image.tobytes() for image in grey), "each row once"
    labels = np.concatenate([train.labels, test.labels])
    assert [label[image.tobytes()] for image in both] == labels.tolist()
    assert made["classes"] == [str(digit) for digit in range(10)]
    assert made == card(folder) == train.card
    assert (made["kind"], made["name"], made["set_aside"]["count"]) == ("images", "digits", 0)


def test_every_class_is_held_out_alike(digits):
    folder, _ = digits
    train, test = (np.bincount(ImageArrays.open(folder, split).labels) for split in ("train", "test"))
    assert np.abs(test / (train + test) - 0.2).max() < 0.005


def test_statistics_are_those_of_the_model_s_range(digits):
    folder, made = digits
    x = ImageArrays.open(folder, "train").images / 127.5 - 1
    assert made["mean"] == pytest.approx([x.mean()], abs=1e-6)
    assert made["std"] == pytest.approx([x.std()], abs=1e-6)
    assert made["sigma_data"] == pytest.approx(x.std(), abs=1e-6)


def test_the_same_source_gives_the_same_bytes(tmp_path, digits):
    prepare(Params(), tmp_path / "images")
    assert contents(tmp_path / "images") == contents(digits[0])
    own = image_params(picture_folder(tmp_path / "own"))
    prepare(own, tmp_path / "one")
    prepare(own, tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_another_seed_holds_out_other_pictures(tmp_path, digits):
    prepare(Params(seed=1), tmp_path / "images")
    assert _rows(ImageArrays.open(tmp_path / "images", "test")) != _rows(ImageArrays.open(digits[0], "test"))


def test_a_folder_of_one_s_own(tmp_path):
    made = prepare(image_params(picture_folder(tmp_path / "own")), tmp_path / "images")
    assert made["shape"] == [3, 12, 12]
    assert made["classes"] == list(CLASSES)
    assert made["counts"] == {"train": 48, "test": 12}
    truth = {pixels(n).transpose(2, 0, 1).tobytes(): n % 2 for n in range(60)}
    seen = []
    for split in ("train", "test"):
        arrays = ImageArrays.open(tmp_path / "images", split)
        for image, label in zip(arrays.images, arrays.labels, strict=True):
            seen.append(image.tobytes())
            assert truth[image.tobytes()] == label
    assert sorted(seen) == sorted(truth)


def test_without_classes_labels_are_minus_one(tmp_path):
    made = prepare(image_params(picture_folder(tmp_path / "own", classes=())), tmp_path / "images")
    assert made["classes"] == []
    assert set(ImageArrays.open(tmp_path / "images", "train").labels) == {-1}
    assert made["counts"] == {"train": 48, "test": 12}


def test_a_limit_takes_of_the_training_pictures_only(tmp_path):
    own = picture_folder(tmp_path / "own")
    prepare(image_params(own), tmp_path / "all")
    made = prepare(image_params(own, limit=20), tmp_path / "some")
    assert made["counts"] == {"train": 20, "test": 12}
    some, every = (_rows(ImageArrays.open(tmp_path / name, "train")) for name in ("some", "all"))
    assert some < every
    labels = ImageArrays.open(tmp_path / "some", "train").labels
    assert len(set(labels)) == 2


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_channels(tmp_path, channels, mode):
    made = prepare(image_params(picture_folder(tmp_path / "own"), channels=channels), tmp_path / "images")
    assert made["shape"] == [channels, 12, 12]
    assert len(made["mean"]) == len(made["std"]) == channels
    x = ImageArrays.open(tmp_path / "images", "train").images / 127.5 - 1
    assert made["sigma_data"] == pytest.approx(x.std(), abs=1e-5), "over all channels together"
    expected = {np.asarray(picture(n, mode)).reshape(12, 12, -1).transpose(2, 0, 1).tobytes() for n in range(60)}
    assert _rows(ImageArrays.open(tmp_path / "images", "train")) <= expected


def test_size_brings_pictures_of_any_size_to_one_without_distortion(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    for n in range(60):
        wide = Image.new("L", (40 + n, 20), 0)
        wide.paste(255, (n // 2 + 10, 0, n // 2 + 30, 20))  # the square in the middle is white
        wide.save(folder / f"{n}.png")
    made = prepare(image_params(folder, size=8), tmp_path / "images")
    assert made["shape"] == [1, 8, 8]
    assert ImageArrays.open(tmp_path / "images", "train").images[:, :, :, 1:-1].min() >= 250


def test_transparent_pictures_keep_their_channel(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    for n in range(60):
        picture(n, "RGBA").save(folder / f"{n:02}.png")
    assert prepare(image_params(folder), tmp_path / "images")["shape"] == [4, 12, 12]


def _bad_picture(folder, kind):
    """Makes the ninth picture of the flat ``folder`` bad."""
    file = folder / "008.png"
    if kind == "cut short":
        file.write_bytes(file.read_bytes()[:200])
    elif kind == "no picture":
        file.write_bytes(b"GIF89a, so to say")
    elif kind == "hollow":
        file.write_bytes(b"")
    elif kind == "16-bit":
        Image.fromarray(np.arange(144, dtype=np.uint16).reshape(12, 12)).save(file)
    elif kind == "other size":
        picture(8, width=12, height=10).save(file)
    elif kind == "other channels":
        picture(8, "L").save(file)


KINDS = {
    "cut short": "undecodable picture",
    "no picture": "undecodable picture",
    "hollow": "undecodable picture",
    "16-bit": "undecodable picture",
    "other size": "mixed sizes",
    "other channels": "mixed sizes",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_picture_is_set_aside_with_its_number_and_counted(tmp_path, kind):
    folder = picture_folder(tmp_path / "own", classes=())
    _bad_picture(folder, kind)
    made = prepare(image_params(folder, on_bad_row="set-aside"), tmp_path / "images")
    assert made["set_aside"]["count"] == 1
    (row,) = made["set_aside"]["rows"]
    assert (row["split"], row["row"]) == ("train", 8)
    assert row["reason"].startswith(KINDS[kind])
    assert "008.png" in row["reason"]
    assert made["set_aside"]["reasons"] == {KINDS[kind]: 1}
    assert sum(made["counts"].values()) == 59
    kept = [_rows(ImageArrays.open(tmp_path / "images", split)) for split in ("train", "test")]
    truth = {pixels(n).transpose(2, 0, 1).tobytes() for n in range(60) if n != 8}
    assert kept[0] | kept[1] == truth


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_picture_is_refused_and_what_was_made_before_stays(tmp_path, kind):
    folder = picture_folder(tmp_path / "own", classes=())
    prepare(image_params(folder), tmp_path / "images")
    before = contents(tmp_path / "images")
    _bad_picture(folder, kind)
    with pytest.raises(UserError, match=KINDS[kind]) as refused:
        prepare(image_params(folder), tmp_path / "images")
    assert "Row 8" in str(refused.value)
    assert "images.on_bad_row=set-aside" in str(refused.value)
    assert contents(tmp_path / "images") == before
    assert {path.name for path in tmp_path.iterdir()} == {"own", "images"}


def test_mixed_sizes_say_how_to_bring_them_to_one(tmp_path):
    folder = picture_folder(tmp_path / "own", classes=())
    _bad_picture(folder, "other size")
    with pytest.raises(UserError, match=r"12x10 RGB where .*12x12 RGB.*images\.size"):
        prepare(image_params(folder), tmp_path / "images")
    assert sum(prepare(image_params(folder, size=12), tmp_path / "images")["counts"].values()) == 60


def test_fewer_pictures_than_a_batch_are_prepared_and_refused_by_the_training(tmp_path):
    """Preparation does not depend on how a training goes: its batch may change."""
    folder = picture_folder(tmp_path / "own")
    params = image_params(folder, batch=49)
    card = prepare(params, tmp_path / "prepared")
    for family, key in (("diffusion", "diffusion.training"), ("feature-net", "feature_net")):
        with pytest.raises(UserError, match=rf"{key}.batch_size=49 and 48 pictures to learn from"):
            trainable(family, params, card)
    with pytest.raises(UserError, match=r"test split has 6 pictures and needs at least 10"):
        prepare(image_params(folder, held_out=0.1), tmp_path / "images")
    assert not (tmp_path / "images").exists()


def test_fewer_good_pictures_than_a_batch_are_refused(tmp_path):
    folder = picture_folder(tmp_path / "own", classes=())
    for n in range(50):
        (folder / f"{n:03}.png").write_bytes(b"")
    with pytest.raises(UserError, match="needs at least"):
        prepare(image_params(folder, on_bad_row="set-aside"), tmp_path / "images")
    for n in range(60):
        (folder / f"{n:03}.png").write_bytes(b"")
    with pytest.raises(UserError, match="no picture that can be decoded"):
        prepare(image_params(folder, on_bad_row="set-aside"), tmp_path / "images")


def test_what_is_not_prepared_cannot_be_opened(tmp_path):
    with pytest.raises(UserError, match="run `stepladder prepare images`"):
        ImageArrays.open(tmp_path / "images", "train")


def test_arrays_are_mapped_not_read(digits):
    assert isinstance(ImageArrays.open(digits[0], "train").images, np.memmap)


def test_a_file_is_no_folder_of_pictures(tmp_path):
    (tmp_path / "own.zip").write_bytes(b"")
    with pytest.raises(UserError, match=r"own\.zip is a file; name a folder of pictures"):
        prepare(image_params(tmp_path / "own.zip"), tmp_path / "images")


def test_an_unknown_source_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("STEPLADDER_MIRROR", str(tmp_path))
    with pytest.raises(UserError, match="digitz is not in STEPLADDER_MIRROR"):
        prepare(build({"images": {"source": "digitz"}}), tmp_path / "images")


def test_what_is_known_of_the_rows_is_on_the_card(tmp_path, monkeypatch):
    noted = replace(pictures.read(Params().images), note="a few rows are odd")
    assert "note" not in prepare(Params(), tmp_path / "without")
    monkeypatch.setattr(pictures, "read", lambda images: noted)
    assert prepare(Params(), tmp_path / "with")["note"] == "a few rows are odd"

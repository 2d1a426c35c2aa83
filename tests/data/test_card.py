import errno
import json
from typing import NotRequired, get_origin, get_type_hints

import pytest

from stepladder.data.card import (
    LabelsCard,
    LinesCard,
    PairsCard,
    PicturesCard,
    card_of,
    content_hash,
    prepared,
    read_card,
)
from stepladder.data.preparing import images
from stepladder.data.preparing.text import prepare as prepare_text
from stepladder.errors import UserError
from tests.data.made import contents, image_params, picture_folder, text_params


def _prepare(folder, text, **card):
    with prepared(folder, dict(card)) as fresh:
        (fresh / "a.npy").write_text(text)


def test_a_folder_appears_with_its_card(tmp_path):
    folder = tmp_path / "data" / "text"
    _prepare(folder, "one", kind="text", name="імена")
    card = read_card(folder)
    assert card == {"kind": "text", "name": "імена", "content_hash": content_hash(folder)}
    assert [p.name for p in folder.parent.iterdir()] == ["text"]


@pytest.mark.parametrize(
    ("kind", "task"), [(PicturesCard, ""), (PairsCard, "pairs"), (LinesCard, "lines"), (LabelsCard, "labels")]
)
def test_a_card_says_what_its_type_does(tmp_path, kind, task):
    if task:
        params = text_params("names", limit=300)
        params = params.model_copy(update={"text": params.text.model_copy(update={"task": task})})
        prepare_text(params, tmp_path / "data")
    else:
        images.prepare(image_params(picture_folder(tmp_path / "pictures")), tmp_path / "data")
    keys = get_type_hints(kind, include_extras=True)
    card = card_of(tmp_path / "data", kind)
    assert {name for name, what in keys.items() if get_origin(what) is not NotRequired} <= card.keys() <= keys.keys()


def test_the_hash_depends_on_names_and_bytes_and_not_on_the_card(tmp_path):
    hashes: list[str] = []
    for name, text in (("a", "one"), ("a", "two"), ("b", "one"), ("a", "one")):
        folder = tmp_path / str(len(hashes))
        folder.mkdir()
        (folder / name).write_text(text)
        (folder / "card.json").write_text(str(len(hashes)))
        hashes.append(content_hash(folder))
    assert len(set(hashes)) == 3
    assert hashes[0] == hashes[3]


def test_a_new_preparation_replaces_all_of_the_old_one(tmp_path):
    folder = tmp_path / "images"
    _prepare(folder, "one")
    (folder / "stray").touch()
    _prepare(folder, "two")
    assert set(contents(folder)) == {"a.npy", "card.json"}
    assert (folder / "a.npy").read_text() == "two"


@pytest.mark.parametrize("error", [UserError("a bad row"), KeyboardInterrupt(), RuntimeError("a defect")])
def test_a_failure_leaves_the_earlier_folder_as_it_was(tmp_path, error):
    folder = tmp_path / "images"
    _prepare(folder, "one")
    before = contents(folder)

    def fail():
        with prepared(folder, {}) as fresh:
            (fresh / "a.npy").write_text("half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert contents(folder) == before
    assert [p.name for p in tmp_path.iterdir()] == ["images"]


def test_a_full_disk_is_one_sentence_and_leaves_the_earlier_folder(tmp_path):
    folder = tmp_path / "images"
    _prepare(folder, "one")

    def fail():
        with prepared(folder, {}):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UserError, match=r"cannot be written to .*images \(No space left on device\)"):
        fail()
    with pytest.raises(UserError, match="MiB needed"), prepared(folder, {}, size=2**60):
        pytest.fail("begun although the disk has no room")
    assert (folder / "a.npy").read_text() == "one"


def test_a_missing_card_says_how_to_make_it(tmp_path):
    with pytest.raises(UserError, match="no prepared data; run `stepladder prepare images`"):
        read_card(tmp_path / "images")


@pytest.mark.parametrize("damage", [b'{"kind": "im', b"\xff\xfe\x00", b""])
def test_a_damaged_card_says_how_to_make_it_anew(tmp_path, damage):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "card.json").write_bytes(damage)
    with pytest.raises(UserError, match="is damaged; make it anew with `stepladder prepare images`"):
        read_card(folder)


def test_the_card_is_readable_by_people(tmp_path):
    _prepare(tmp_path / "text", "one", name="імена")
    written = (tmp_path / "text" / "card.json").read_text(encoding="utf-8")
    assert "імена" in written
    assert json.loads(written)
    assert written.endswith("}\n")

"""An object of DVC's cache that is no longer what its name says, which DVC restores without a word."""

import os
import shutil
from pathlib import Path

import pytest

from stepladder import doctor, dvc_cache
from stepladder.errors import UserError
from tests.pipelines import project

STAGES = """stages:
  letters: {cmd: "mkdir -p letters && echo a > letters/a && echo b > letters/b", outs: [letters]}
  word: {cmd: "cat letters/a letters/b > word", deps: [letters], outs: [word]}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    project.git(tmp_path, "init", "--quiet")
    project.dvc(tmp_path, "init", "--quiet")
    (tmp_path / "dvc.yaml").write_text(STAGES)
    project.dvc(tmp_path, "repro", "--quiet")
    return tmp_path


def damage(content: bytes) -> Path:
    """One byte of the object with ``content`` is changed, its mode and its times are not."""
    (place,) = [
        file for file in Path(".dvc/cache/files/md5").glob("*/*") if file.is_file() and file.read_bytes() == content
    ]
    before = place.stat()
    place.chmod(0o644)
    place.write_bytes(b"?" + content[1:])
    place.chmod(before.st_mode)
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
    return place


@pytest.mark.parametrize(("content", "stage", "out"), [(b"a\nb\n", "word", "word"), (b"a\n", "letters", "letters")])
def test_it_is_found_put_aside_and_made_anew(here, capsys, content, stage, out):
    place = damage(content)
    shutil.rmtree(out) if Path(out).is_dir() else Path(out).unlink()
    project.dvc(here, "checkout")
    assert doctor.cache() == 1
    said = capsys.readouterr().out
    assert f"dvc repro --force --single-item {stage}\n" in said
    assert "4 objects read, 1 damaged." in said
    assert not place.exists()
    assert [file.read_bytes()[:1] for file in (here / dvc_cache.DAMAGED).iterdir()] == [b"?"]
    project.dvc(here, "repro", "--force", "--single-item", stage)
    assert Path("word" if stage == "word" else "letters/a").read_bytes() == content
    assert place.read_bytes() == content
    assert project.dvc(here, "status") == "Data and pipelines are up to date.\n"
    assert doctor.cache() == 0


def test_an_object_of_no_stage_and_a_damaged_listing_are_told_apart(here, capsys):
    (listing,) = Path(".dvc/cache/files/md5").glob("*/*.dir")
    listing.chmod(0o644)
    listing.write_text("[{")
    stray = Path(".dvc/cache/files/md5/00") / ("0" * 30)
    stray.parent.mkdir()
    stray.write_text("stray")
    assert doctor.cache() == 1
    said = capsys.readouterr().out
    assert "0" * 32 + " is not what its name says" in said
    assert "no dvc.lock here names it" in said
    assert f"{listing.parent.name}{listing.name} is not" in said
    assert "--single-item letters\n" in said


def test_outside_a_project_it_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    with pytest.raises(UserError, match="not a DVC project"):
        dvc_cache.verify(tmp_path)

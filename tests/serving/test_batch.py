"""Whole files: what is made, what is refused before any work, and going on after a kill."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stepladder.data.grid import to_uint8
from stepladder.errors import UserError
from stepladder.serving.batch import Options, predict
from stepladder.serving.models import Painter, Translator, load

SENTENCES = ["ab ba", "", "cab", "bad", "abba ab"]
LABELS = ["two", "zero", "two", "one", "zero"]


def quiet(line: str) -> None: ...


@pytest.fixture
def sentences(tmp_path) -> Path:
    file = tmp_path / "sentences.txt"
    file.write_text("".join(f"{line}\n" for line in SENTENCES))
    return file


@pytest.fixture
def labels(tmp_path) -> Path:
    file = tmp_path / "labels.csv"
    file.write_text("label\n" + "".join(f"{name}\n" for name in LABELS))
    return file


def test_a_file_of_sentences(models, sentences, tmp_path):
    translator = load(str(models["translator"]))
    expected = translator.translate(SENTENCES, translator.decoding(beam_size=1))
    predict(str(models["translator"]), sentences, tmp_path / "out.txt", Options(beam_size=1), chunk=2, log=quiet)
    assert (tmp_path / "out.txt").read_text().split("\n")[:-1] == expected
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.txt", "sentences.txt"]


@pytest.mark.parametrize("chunk", [2, 100])
def test_a_table_of_labels_whatever_the_chunks(models, labels, tmp_path, chunk):
    painter = load(str(models["painter"]))
    expected = to_uint8(painter.draw(LABELS, [""] * 5, 3, painter.sampling(), 4))
    predict(str(models["painter"]), labels, tmp_path / "out", Options(steps=3, seed=4), chunk=chunk, log=quiet)
    with (tmp_path / "out" / "pictures.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == LABELS
    found = [np.array(Image.open(tmp_path / "out" / row["file"])) for row in rows]
    assert np.array_equal(np.stack(found), expected[:, 0])


def test_a_folder_of_files(models, sentences, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.txt").write_text("ab\n")
    (folder / "b.txt").write_text("ba\ncab\n")
    (folder / "notes.md").write_text("not a file of sentences\n")
    made = predict(str(models["translator"]), folder, tmp_path / "out", log=quiet)
    assert [file.name for file in made] == ["a.txt", "b.txt"]
    assert len((tmp_path / "out" / "b.txt").read_text().splitlines()) == 2
    assert predict(str(models["translator"]), folder, tmp_path / "out", log=quiet) == [], "they are there"


def test_it_goes_on_where_it_was_stopped(models, labels, tmp_path, monkeypatch):
    drawn: list[int] = []
    draw = Painter.draw

    def stopped_at(limit):
        def counting(self, names, texts, steps, sampling, seed, first=0):
            if len(drawn) == limit:
                raise KeyboardInterrupt
            drawn.append(first)
            return draw(self, names, texts, steps, sampling, seed, first)

        monkeypatch.setattr(Painter, "draw", counting)

    arguments = (str(models["painter"]), labels, tmp_path / "out", Options(steps=2))
    stopped_at(2)
    with pytest.raises(KeyboardInterrupt):
        predict(*arguments, chunk=2, log=quiet)
    assert not (tmp_path / "out").exists()
    stopped_at(None)
    predict(*arguments, chunk=2, log=quiet)
    assert drawn == [0, 2, 4]
    monkeypatch.undo()
    predict(str(models["painter"]), labels, tmp_path / "whole", Options(steps=2), log=quiet)
    for file in (tmp_path / "whole").iterdir():
        assert file.read_bytes() == (tmp_path / "out" / file.name).read_bytes()


def test_another_request_is_begun_anew(models, sentences, tmp_path, monkeypatch):
    translate = Translator.translate
    monkeypatch.setattr(Translator, "translate", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        predict(str(models["translator"]), sentences, tmp_path / "out.txt", log=quiet)
    monkeypatch.setattr(Translator, "translate", translate)
    said: list[str] = []
    predict(str(models["translator"]), sentences, tmp_path / "out.txt", Options(beam_size=1), log=said.append)
    assert "begun anew" in said[0]


@pytest.mark.parametrize(
    ("model", "text", "options", "sentence"),
    [
        ("painter", "label\none\nten\n", Options(), "row 2: The model does not know the class ten"),
        ("painter", "kind\none\n", Options(), "has the columns kind; a column label, or text, or both"),
        ("painter", "label\n", Options(), "has no rows below its head"),
        ("painter", "label\none\n", Options(steps=21), "S=21 sampling steps given for a model of T=20"),
        ("painter", "label\none\n", Options(sampler="magic"), "sampling: sampler"),
        ("painter", "label,text\none,a red car\n", Options(), "row 1: The model knows no text"),
        ("translator", "ab\n" + "ab " * 100 + "\n", Options(), "Sentence 2 has"),
        ("translator", "", Options(), "is empty"),
        ("translator", "ab\n", Options(language="fr"), "does not translate to fr"),
        ("translator", "ab\n", Options(beam_size=0), "decoding: beam_size"),
    ],
)
def test_what_is_not_fit_is_refused_before_any_work(models, tmp_path, model, text, options, sentence):
    source = tmp_path / "given"
    source.write_text(text)
    with pytest.raises(UserError, match=sentence):
        predict(str(models[model]), source, tmp_path / "out", options, log=quiet)
    assert [file.name for file in tmp_path.iterdir()] == ["given"]


def test_nothing_is_written_over(models, sentences, tmp_path):
    (tmp_path / "out.txt").write_text("mine\n")
    with pytest.raises(UserError, match="is not written over"):
        predict(str(models["translator"]), sentences, tmp_path / "out.txt", log=quiet)
    assert (tmp_path / "out.txt").read_text() == "mine\n"
    with pytest.raises(UserError, match="a chunk has 1 row or more"):
        predict(str(models["translator"]), sentences, tmp_path / "new.txt", chunk=0, log=quiet)

import json

import datasets
import numpy as np
import pytest
from tokenizers import Tokenizer

from stepladder.data.buckets import Sentences
from stepladder.data.preparing import names
from stepladder.data.preparing.text import prepare
from stepladder.errors import UserError
from stepladder.params import build
from tests.data.made import card, contents, sentence
from tests.data.mirror import table_repository

SPLITS = ("train", "validation", "test")


def labels_params(source, **text):
    return build(
        {
            "text": {"task": "labels", "source": str(source), "vocab_size": 100, **text},
            "transformer": {"architecture": "encoder"},
        }
    )


def written(folder, split):
    read = Tokenizer.from_file(str(folder / "tokenizer.json"))
    texts, numbers = Sentences.open(folder / f"{split}_text"), np.load(folder / f"{split}_labels.npy")
    classes = card(folder)["classes"]
    ids = (texts.tokens[a:b].tolist() for a, b in zip(texts.offsets, texts.offsets[1:], strict=False))
    return [(read.decode(i), classes[n]) for i, n in zip(ids, numbers, strict=True)]


def test_the_default_is_names_by_domain(tmp_path):
    made = prepare(labels_params("names", limit=0), tmp_path / "text")
    assert made["classes"] == sorted(names.DOMAINS)
    rows = [row for split in SPLITS for row in written(tmp_path / "text", split)]
    assert len({text for text, _ in rows}) == len(rows) == sum(made["counts"].values())
    known = dict(rows)
    assert known["Ukraine"] == "country"
    assert known["Hryvnia"] == "currency"
    assert known["Swahili (individual language)"] == "language"
    assert known["Cyrillic"] == "script"
    assert made["counts_by_class"]["train"]["country"] > 200


def test_the_same_source_gives_the_same_bytes(tmp_path):
    for place in ("one", "two"):
        prepare(labels_params("names", limit=600), tmp_path / place)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.parametrize("suffix", [".tsv", ".jsonl"])
def test_a_file_with_repeats_and_bad_rows(tmp_path, suffix):
    rows = [(sentence(n, "en"), "even" if n % 2 == 0 else "odd") for n in range(200)]
    rows += [rows[0], ("", "even"), ("long " * 200, "odd")]
    if suffix == ".tsv":
        content = "text\tlabel\n" + "".join(f"{a}\t{b}\n" for a, b in rows)
    else:
        content = "".join(json.dumps({"text": a, "label": b}) + "\n" for a, b in rows)
    (tmp_path / f"own{suffix}").write_text(content)
    made = prepare(labels_params(tmp_path / f"own{suffix}"), tmp_path / "text")
    assert made["repeated"] == {"train": 1}
    assert made["set_aside"]["reasons"] == {"empty text": 1, "overlong line": 1}
    assert sum(made["counts"].values()) == 200
    folder = tmp_path / "text"
    assert {row for split in SPLITS for row in written(folder, split)} == set(rows[:200])
    lines = [json.loads(line) for line in (folder / "test.jsonl").read_text().splitlines()]
    assert [(line["text"], line["label"]) for line in lines] == written(folder, "test")


def test_columns_of_a_data_set_with_named_classes(tmp_path, monkeypatch):
    features = datasets.Features({"what": datasets.Value("string"), "kind": datasets.ClassLabel(names=["cat", "dog"])})
    splits = {
        split: {"what": [None, *(sentence(first + n, "en") for n in range(1, count))], "kind": [0, 1] * (count // 2)}
        for split, first, count in (("train", 0, 80), ("test", 100, 20))
    }
    table_repository(tmp_path / "mirror" / "animals", splits, features)
    monkeypatch.setenv("STEPLADDER_MIRROR", str(tmp_path / "mirror"))
    made = prepare(labels_params("animals", text_column="what", label_column="kind", held_out=0.2), tmp_path / "text")
    assert made["classes"] == ["cat", "dog"]
    assert made["counts"] == {"train": 64, "validation": 15, "test": 19}
    assert made["set_aside"]["reasons"] == {"no text with a class": 2}
    with pytest.raises(UserError, match="has no column label; it has what, kind"):
        prepare(labels_params("animals", text_column="what"), tmp_path / "text")


def test_one_class_or_too_few_texts_are_refused(tmp_path):
    (tmp_path / "own.tsv").write_text("".join(f"{sentence(n, 'en')}\tsame\n" for n in range(100)))
    with pytest.raises(UserError, match=r"have 1 class; name another column in text.label_column"):
        prepare(labels_params(tmp_path / "own.tsv"), tmp_path / "text")
    (tmp_path / "own.tsv").write_text("".join(f"{sentence(n, 'en')}\t{n % 2}\n" for n in range(20)))
    with pytest.raises(UserError, match=r"The \w+ split has \d texts and needs at least 8"):
        prepare(labels_params(tmp_path / "own.tsv"), tmp_path / "text")

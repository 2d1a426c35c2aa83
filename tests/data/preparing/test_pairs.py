import json

import datasets
import pytest
from tokenizers import Tokenizer

from stepladder.data.preparing import names, pairs
from stepladder.data.preparing.bad_rows import BadRows
from stepladder.data.preparing.text import prepare
from stepladder.errors import UserError
from tests.data.made import pair_file, pair_lines, sentence, text_params
from tests.data.mirror import pairs_repository, table_repository


def _read(source, on_bad_row="set-aside", **text):
    bad = BadRows(on_bad_row, "text.on_bad_row")
    return pairs.read(text_params(source, on_bad_row=on_bad_row, **text).text, bad), bad


def _sides(found):
    return [(p.source, p.target) for p in found.splits["train"]]


EXPECTED = [(sentence(n, "en"), sentence(n, "uk")) for n in range(200)]


@pytest.mark.parametrize("suffix", [".tsv", ".jsonl"])
def test_a_file_of_pairs(tmp_path, suffix):
    found, bad = _read(pair_file(tmp_path / f"own{suffix}"))
    assert _sides(found) == EXPECTED
    assert {p.language for p in found.splits["train"]} == {"uk"}
    assert (found.name, bad.card()["count"]) == ("own", 0)
    assert str(tmp_path) not in found.origin, "the card is the same wherever the file lies"


def test_the_header_of_a_tsv_names_its_columns_in_any_order(tmp_path):
    lines = pair_lines(".tsv", languages=("de", "uk", "en"))
    found, bad = _read(pair_file(tmp_path / "own.tsv", ["de\tuk\ten", *lines]))
    assert _sides(found) == EXPECTED
    assert bad.card()["count"] == 0


@pytest.mark.parametrize("suffix", [".tsv", ".jsonl"])
def test_several_targets(tmp_path, suffix):
    lines = pair_lines(suffix, languages=("en", "uk", "de"))
    found, _ = _read(pair_file(tmp_path / f"own{suffix}", lines), target_languages=["uk", "de"])
    for language in ("uk", "de"):
        of_language = [(p.source, p.target) for p in found.splits["train"] if p.language == language]
        assert sorted(of_language) == sorted((sentence(n, "en"), sentence(n, language)) for n in range(200))


def test_quotes_and_windows_line_ends_are_kept_out_of_the_way(tmp_path):
    file = tmp_path / "own.tsv"
    file.write_bytes(b'a "b\t"c" d\r\ne\tf\r\n')
    found, bad = _read(file)
    assert _sides(found) == [('a "b', '"c" d'), ("e", "f")]
    assert bad.card()["count"] == 0


def test_a_byte_order_mark_is_no_part_of_the_first_sentence(tmp_path):
    found, _ = _read(pair_file(tmp_path / "own.tsv", [b"\xef\xbb\xbfone\t1", "two\t2"]))
    assert _sides(found) == [("one", "1"), ("two", "2")]
    lines = [b"\xef\xbb\xbf" + json.dumps({"en": "one", "uk": "1"}).encode()]
    found, bad = _read(pair_file(tmp_path / "own.jsonl", lines))
    assert _sides(found) == [("one", "1")]
    assert bad.card()["count"] == 0


@pytest.mark.parametrize(
    ("suffix", "line", "reason"),
    [
        (".tsv", "one\teins\tun", "mismatched columns"),
        (".tsv", "one", "mismatched columns"),
        (".tsv", b"caf\xe9\teins", "not UTF-8"),
        (".jsonl", '{"en": "one"}', "mismatched columns"),
        (".jsonl", '{"en": "one", "uk": 1}', "mismatched columns"),
        (".jsonl", '{"en": "one", "uk": null}', "mismatched columns"),
        (".jsonl", '["one", "один"]', "mismatched columns"),
        (".jsonl", '{"en": "one", "uk": "оди', "not JSON"),
        (".jsonl", b'{"en": "caf\xe9", "uk": "x"}', "not UTF-8"),
    ],
)
def test_a_bad_row_is_set_aside_with_its_number(tmp_path, suffix, line, reason):
    lines = pair_lines(suffix)
    lines[7] = line
    found, bad = _read(pair_file(tmp_path / f"own{suffix}", lines))
    assert _sides(found) == EXPECTED[:7] + EXPECTED[8:]
    (row,) = bad.rows
    assert (row["split"], row["row"]) == ("train", 7)
    assert row["reason"].startswith(reason)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"absent.tsv"):
        _read(tmp_path / "absent.tsv")
    (tmp_path / "own.csv").write_text("a,b\n")
    with pytest.raises(UserError, match=r"neither a .tsv nor a .jsonl file"):
        _read(tmp_path / "own.csv")
    (tmp_path / "folder.tsv").mkdir()
    with pytest.raises(UserError, match=r"folder.tsv"):
        _read(tmp_path / "folder.tsv")


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    monkeypatch.setenv("STEPLADDER_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "mirror"


def test_a_hub_data_set_with_a_column_for_each_language(mirror):
    pairs_repository(mirror / "numbers", splits=("train", "val", "test"))
    found, bad = _read("someone/numbers")
    assert set(found.splits) == {"train", "validation", "test"}
    assert _sides(found) == EXPECTED
    assert (found.name, found.licence, bad.card()["count"]) == ("numbers", "cc-by-4.0", 0)


@pytest.mark.parametrize("kind", [datasets.Translation(["en", "uk"]), None])
def test_a_hub_data_set_with_one_column_of_translations(mirror, kind):
    rows = [{"en": sentence(n, "en"), "uk": sentence(n, "uk")} for n in range(200)]
    (mirror / "numbers").mkdir(parents=True)
    features = datasets.Features({"translation": kind}) if kind else None
    made = datasets.Dataset.from_dict({"translation": rows}, features=features)
    made.to_parquet(mirror / "numbers" / "train.parquet")
    found, _ = _read("numbers")
    assert _sides(found) == EXPECTED


def test_a_row_of_a_hub_data_set_without_text_is_set_aside(mirror):
    (mirror / "numbers").mkdir(parents=True)
    lines = pair_lines(".jsonl")
    lines[5] = json.dumps({"en": "five", "uk": None})
    pair_file(mirror / "numbers" / "train.jsonl", lines)
    found, bad = _read("numbers")
    assert _sides(found) == EXPECTED[:5] + EXPECTED[6:]
    assert [(row["split"], row["row"]) for row in bad.rows] == [("train", 5)]


def test_an_unknown_column_is_refused_with_those_there_are(mirror):
    pairs_repository(mirror / "numbers")
    with pytest.raises(UserError, match=r"numbers has no column fr; it has en, uk: .*text\.target_languages"):
        _read("numbers", target_languages=["fr"])
    pairs_repository(mirror / "other", splits=("test",))
    with pytest.raises(UserError, match="no split named train; it has test"):
        _read("other")


def test_names():
    found, bad = _read("names", target_languages=["uk", "de"])
    assert len(found.splits["train"]) == len(names.pairs("uk")) + len(names.pairs("de"))
    assert bad.card()["count"] == 0
    assert "LGPL" in found.licence


def test_names_of_an_unknown_language_are_refused():
    with pytest.raises(UserError, match="no names in 'xx'; there are:"):
        _read("names", target_languages=["xx"])
    with pytest.raises(UserError, match=r"source_language=de: the names are translated from en"):
        _read("names", source_language="de")


def test_lists_of_sentences_and_several_references(tmp_path, monkeypatch):
    splits = {
        split: {
            "source": [[f"Sentence {n}.", "And more."] for n in range(count)],
            "target": [[f"Short {n}.", f"Or  so {n}."][: 1 + n % 2] for n in range(count)],
        }
        for split, count in (("train", 80), ("validation", 12), ("test", 12), ("test_hard", 9))
    }
    table_repository(tmp_path / "mirror" / "papers", splits)
    monkeypatch.setenv("STEPLADDER_MIRROR", str(tmp_path / "mirror"))
    params = text_params("papers", source_language="source", target_languages=["target"])
    made = prepare(params, tmp_path / "text")
    assert made["counts"] == {"train": 80, "validation": 12, "test": 12, "test_hard": 9}
    assert set(made["seen_in_training"]) == {"validation", "test", "test_hard"}
    lines = [json.loads(line) for line in (tmp_path / "text" / "test.jsonl").read_text().splitlines()]
    assert lines[0] == {"source": "Sentence 0. And more.", "target": "Short 0.", "language": "target"}
    assert lines[1]["references"] == ["Short 1.", "Or so 1."]
    assert lines[1]["target"] == "Short 1."


def test_chinese_is_cut_into_fewer_tokens_than_characters_and_comes_back(tmp_path):
    prepare(text_params("names", target_languages=["zh_CN"], vocab_size=2000), tmp_path / "text")
    read = Tokenizer.from_file(str(tmp_path / "text" / "tokenizer.json"))
    lines = [json.loads(line) for line in (tmp_path / "text" / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    targets = [line["target"] for line in lines]
    ids = [e.ids for e in read.encode_batch(targets, add_special_tokens=False)]
    assert [read.decode(i) for i in ids] == targets
    assert sum(map(len, ids)) < 0.95 * sum(map(len, targets))

import itertools
import json
import unicodedata

import numpy as np
import pytest
from tokenizers import Tokenizer

from stepladder.data.preparing import names
from stepladder.data.preparing.text import prepare
from stepladder.errors import UserError
from stepladder.params import Params
from tests.data.made import card, contents, pair_file, pair_lines, sentence, text_params

SPLITS = ("train", "validation", "test")


def _clean(text):
    return " ".join(unicodedata.normalize("NFC", text).split())


def _sentences(folder, split, side):
    flat, offsets = np.load(folder / f"{split}_{side}.npy"), np.load(folder / f"{split}_{side}_offsets.npy")
    assert offsets[0] == 0
    assert offsets[-1] == len(flat)
    return [flat[a:b].tolist() for a, b in itertools.pairwise(offsets)]


def _texts(folder, split, side, skip=0):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return [tokenizer.decode(ids[skip:]) for ids in _sentences(folder, split, side)]


@pytest.fixture(scope="module")
def default(tmp_path_factory):
    """The default: names, English to Ukrainian."""
    folder = tmp_path_factory.mktemp("default") / "text"
    return folder, prepare(Params(), folder)


def test_the_default_has_fifteen_thousand_pairs(default):
    folder, made = default
    assert sum(made["counts"].values()) + made["set_aside"]["count"] == 15000
    assert made["counts"]["test"] == pytest.approx(1500, abs=5)
    assert made["counts"]["validation"] == pytest.approx(1500, abs=5)
    assert made == card(folder)
    assert (made["kind"], made["name"], made["tokenizer"]) == ("text", "names", "bpe")
    assert made["languages"] == {"source": "en", "targets": ["uk"]}
    assert set(contents(folder)) == {
        "card.json", "tokenizer.json", "validation.jsonl", "test.jsonl",
        *(f"{split}_{side}{kind}.npy" for split in SPLITS for side in ("source", "target") for kind in ("", "_offsets")),
    }  # fmt: skip


def test_no_source_is_in_two_splits(default):
    folder, _ = default
    sources = {split: set(_texts(folder, split, "source")) for split in SPLITS}
    assert not sources["train"] & sources["test"]
    assert not sources["train"] & sources["validation"]
    assert not sources["validation"] & sources["test"]


def test_tokens_read_as_the_pairs_they_were(default):
    folder, made = default
    known = {(_clean(a), _clean(b)) for a, b in names.pairs("uk")}
    for split in SPLITS:
        pairs = list(zip(_texts(folder, split, "source"), _texts(folder, split, "target"), strict=True))
        assert len(pairs) == made["counts"][split]
        assert set(pairs) <= known
        for side in ("source", "target"):
            tokens = np.load(folder / f"{split}_{side}.npy")
            assert tokens.dtype == np.uint16
            assert tokens.min() >= 4
            assert tokens.max() < made["vocab_size"]
        if split != "train":
            lines = [json.loads(line) for line in (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]
            assert [(line["source"], line["target"]) for line in lines] == pairs
            assert {line["language"] for line in lines} == {"uk"}
        longest = made["tokens_per_sentence"][split]["longest"]
        assert longest == max(map(len, _sentences(folder, split, "target"))) <= Params().text.max_length - 1


@pytest.mark.parametrize("tokenizer", ["bpe", "unigram", "char"])
def test_the_same_source_gives_the_same_bytes(tmp_path, tokenizer):
    params = text_params("names", target_languages=["zh_CN", "ja"], limit=600, tokenizer=tokenizer)
    prepare(params, tmp_path / "one")
    prepare(params, tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_another_seed_holds_out_other_pairs(tmp_path):
    params = text_params(pair_file(tmp_path / "own.tsv"))
    prepare(params, tmp_path / "one")
    prepare(params.model_copy(update={"seed": 1}), tmp_path / "two")
    assert set(_texts(tmp_path / "one", "test", "source")) != set(_texts(tmp_path / "two", "test", "source"))


def test_several_targets_are_told_apart_by_the_first_source_token(tmp_path):
    made = prepare(text_params("names", target_languages=["uk", "de"], limit=2000), tmp_path / "text")
    tokenizer = Tokenizer.from_file(str(tmp_path / "text" / "tokenizer.json"))
    tags = {tokenizer.token_to_id(f"<2{language}>"): language for language in ("uk", "de")}
    assert set(tags) == {4, 5}
    truth = {language: {_clean(a): _clean(b) for a, b in names.pairs(language)} for language in ("uk", "de")}
    folder = tmp_path / "text"
    seen: dict[str, str] = {}
    for split in SPLITS:
        sources = _sentences(folder, split, "source")
        languages = [tags[ids[0]] for ids in sources]
        assert set(languages) == {"uk", "de"}
        texts = zip(_texts(folder, split, "source", skip=1), _texts(folder, split, "target"), languages, strict=True)
        for source, target, language in texts:
            assert truth[language][source] == target
            assert seen.setdefault(source, split) == split, "both translations of a source are in one split"
        if split != "train":
            lines = (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
            assert [json.loads(line)["language"] for line in lines] == languages
    assert sum(made["counts"].values()) + made["set_aside"]["count"] <= 2000


def test_one_target_has_no_tag(tmp_path):
    prepare(text_params(pair_file(tmp_path / "own.tsv")), tmp_path / "text")
    assert Tokenizer.from_file(str(tmp_path / "text" / "tokenizer.json")).token_to_id("<2uk>") is None


def test_a_limit_counts_pairs(tmp_path):
    made = prepare(text_params(pair_file(tmp_path / "own.tsv"), limit=150), tmp_path / "text")
    assert sum(made["counts"].values()) == 150


def test_repeated_sources_stay_together(tmp_path):
    lines = [line for line in pair_lines(".tsv") for _ in range(3)]
    made = prepare(text_params(pair_file(tmp_path / "own.tsv", lines)), tmp_path / "text")
    assert sum(made["counts"].values()) == 600
    sources = [set(_texts(tmp_path / "text", split, "source")) for split in SPLITS]
    assert sum(map(len, sources)) == len(set.union(*sources)) == 200


def test_text_is_composed_and_its_space_made_single(tmp_path):
    lines = pair_lines(".tsv")
    lines[0] = "  Cafe\u0301 \u00a0 bar \tКи\u0306їв "
    prepare(text_params(pair_file(tmp_path / "own.tsv", lines)), tmp_path / "text")
    texts = [text for split in SPLITS for text in _texts(tmp_path / "text", split, "source")]
    assert "Caf\u00e9 bar" in texts
    assert len(set(texts)) == 200


def _bad(suffix):
    long = " ".join(["nine"] * 300)
    lines: list = pair_lines(suffix)
    if suffix == ".tsv":
        lines[3], lines[50], lines[60] = "   \tнуль", "zero\t", f"{long}\tнуль"
        lines[70], lines[71], lines[80] = "zero", "a\tb\tc", b"\xff\tx"
        return lines, {"empty line": 2, "overlong line": 1, "mismatched columns": 2, "not UTF-8": 1}
    lines[3], lines[50] = json.dumps({"en": " ", "uk": "нуль"}), json.dumps({"en": "zero", "uk": ""})
    lines[60], lines[70] = json.dumps({"en": long, "uk": "нуль"}), json.dumps({"en": "zero"})
    lines[71], lines[80] = "{", b'{"en": "\xff", "uk": "x"}'
    return lines, {"empty line": 2, "overlong line": 1, "mismatched columns": 1, "not JSON": 1, "not UTF-8": 1}


@pytest.mark.parametrize("suffix", [".tsv", ".jsonl"])
def test_every_bad_row_is_in_the_card_and_the_counts_add_up(tmp_path, suffix):
    lines, reasons = _bad(suffix)
    made = prepare(text_params(pair_file(tmp_path / f"own{suffix}", lines)), tmp_path / "text")
    assert made["set_aside"]["reasons"] == reasons
    assert made["set_aside"]["count"] == sum(reasons.values()) == 6
    assert sorted(row["row"] for row in made["set_aside"]["rows"]) == [3, 50, 60, 70, 71, 80]
    assert sum(made["counts"].values()) == 200 - 6
    for split in SPLITS:
        assert len(_sentences(tmp_path / "text", split, "source")) == made["counts"][split]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("\tнуль", "empty line"),
        ("zero", "mismatched columns"),
        (b"\xff\tx", "not UTF-8"),
        (" ".join(["nine"] * 300) + "\tx", "overlong line"),
    ],
)
def test_a_bad_row_is_refused_and_what_was_made_before_stays(tmp_path, line, reason):
    folder, lines = tmp_path / "text", pair_lines(".tsv")
    prepare(text_params(pair_file(tmp_path / "own.tsv"), on_bad_row="refuse"), folder)
    before = contents(folder)
    lines[7] = line
    with pytest.raises(UserError, match=reason) as refused:
        prepare(text_params(pair_file(tmp_path / "own.tsv", lines), on_bad_row="refuse"), folder)
    assert "Row 7" in str(refused.value)
    assert "text.on_bad_row=set-aside" in str(refused.value)
    assert contents(folder) == before
    assert {path.name for path in tmp_path.iterdir()} == {"text", "own.tsv"}


def test_too_few_pairs_are_refused(tmp_path):
    for count in (0, 1, 20, 70):
        file = pair_file(tmp_path / "own.tsv", pair_lines(".tsv", count) or ["\t"])
        with pytest.raises(UserError, match=r"The \w+ split has \d+ sentence pairs.* and needs at least"):
            prepare(text_params(file), tmp_path / "text")
    assert not (tmp_path / "text").exists()


def test_too_few_pairs_once_the_overlong_are_set_aside_are_refused(tmp_path):
    lines = [f"{sentence(n, 'en')} {'nine ' * 200}\tx" for n in range(200)]
    with pytest.raises(UserError, match="split has 0 sentence pairs"):
        prepare(text_params(pair_file(tmp_path / "own.tsv", lines)), tmp_path / "text")
    assert not (tmp_path / "text").exists()


def test_too_few_pairs_say_what_was_set_aside(tmp_path):
    file = pair_file(tmp_path / "own.tsv", ["one\tun\teins"] * 100)
    with pytest.raises(
        UserError, match=r"0 sentence pairs without the 100 bad rows .*row 0 of train: mismatched columns"
    ):
        prepare(text_params(file), tmp_path / "text")


@pytest.mark.parametrize("languages", [["uk"], ["uk", "de"]])
def test_the_longest_sentence_is_one_that_the_model_takes(tmp_path, languages):
    """With its end and its language's tag a sentence has ``text.max_length`` tokens at most."""
    lines = ["\t".join([f"{n:03} " + "a" * (n % 20), "drei vier", "c d e"][: len(languages) + 1]) for n in range(600)]
    file = pair_file(tmp_path / "own.tsv", lines)
    made = prepare(
        text_params(file, tokenizer="char", max_length=16, held_out=0.4, target_languages=languages), tmp_path / "text"
    )
    longest = max(len(ids) for split in SPLITS for ids in _sentences(tmp_path / "text", split, "source"))
    assert longest == 15, "and the end of the sentence"
    assert list(made["set_aside"]["reasons"]) == ["overlong line"]
    assert sum(made["counts"].values()) + made["set_aside"]["count"] == 600 * len(languages)


def test_half_of_a_surrogate_pair_is_no_text(tmp_path):
    lines = pair_lines(".jsonl")
    lines[9] = '{"en": "a \\ud800 b", "uk": "x"}'
    made = prepare(text_params(pair_file(tmp_path / "own.jsonl", lines)), tmp_path / "text")
    assert made["set_aside"]["reasons"] == {"not text": 1}
    assert made["set_aside"]["rows"][0]["row"] == 9


def test_text_that_spells_special_tokens_is_text(tmp_path):
    lines = pair_lines(".tsv")
    lines += [f"<pad> <s>{n}</s> <unk>\t▁{n} <0x41> <2uk>" for n in range(50)]
    made = prepare(text_params(pair_file(tmp_path / "own.tsv", lines)), tmp_path / "text")
    folder = tmp_path / "text"
    assert sum(made["counts"].values()) == 250
    for side in ("source", "target"):
        assert min(np.load(folder / f"{split}_{side}.npy").min() for split in SPLITS) >= 4
    targets = {text for split in SPLITS for text in _texts(folder, split, "target")}
    assert {f"▁{n} <0x41> <2uk>" for n in range(50)} <= targets

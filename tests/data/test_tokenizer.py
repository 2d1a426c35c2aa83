import hashlib
import os
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from stepladder.data.preparing import names
from stepladder.data.tokenizer import SPECIAL, tag, train

KINDS = ["bpe", "unigram", "char"]
LANGUAGES = ["uk", "de", "zh_CN", "ja"]
PAIRS = 1200


def _texts(language):
    return [side for pair in names.pairs(language)[:PAIRS] for side in pair]


def _ids(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False).ids


@pytest.fixture(scope="module", params=KINDS)
def saved(request, tmp_path_factory):
    """A tokenizer as one finds it beside the data."""
    file = tmp_path_factory.mktemp(request.param) / "tokenizer.json"
    train([*_texts("uk"), "Dürer"], request.param, 300, [tag("uk"), tag("de")]).save(str(file))
    return Tokenizer.from_file(str(file))


# no surrogates: they are no text; no U+FDD0: it stands in for the sub-word model's own mark
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufdd0"), max_size=40)


@settings(max_examples=300, deadline=None)
@given(text=TEXT | st.text(st.sampled_from("</s>pad nk2 u0x4A▁aбäё"), max_size=12))
@example("a</s>b <pad> <s> <unk>")
@example("<2uk> <2de>")
@example("▁▁a ▁ b▁")
@example("<0x41><0x0A>")
@example("Cafe\u0301 Ångström ﬁ")
@example("日本語 中文 한국어 عربي 🙂\U0001f469\u200d\U0001f680")
@example("a\x00b\x1fc\ufeffd")
def test_every_clean_text_comes_back(saved, text):
    clean = " ".join(unicodedata.normalize("NFC", text).split())
    ids = _ids(saved, clean)
    assert saved.decode(ids) == clean
    assert all(len(SPECIAL) + 2 <= i < saved.get_vocab_size() for i in ids), "neither special nor beyond the vocabulary"


def test_composed_and_decomposed_text_are_the_same_tokens(saved):
    assert _ids(saved, unicodedata.normalize("NFD", "Dürer їжак")) == _ids(saved, "Dürer їжак")


def test_specials_come_first_then_tags(saved):
    assert [saved.id_to_token(i) for i in range(6)] == [*SPECIAL, "<2uk>", "<2de>"]
    assert [saved.token_to_id(name) for name in SPECIAL] == [0, 1, 2, 3]


def test_ids_have_no_gaps(saved):
    assert sorted(saved.get_vocab().values()) == list(range(saved.get_vocab_size()))
    assert saved.get_vocab_size() <= 300 + 256


def test_specials_are_not_part_of_what_is_read_out(saved):
    ids = _ids(saved, "Ukraine")
    assert saved.decode([1, *ids, 2, 0, 0]).strip() == "Ukraine"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_languages(language, kind):
    tokenizer = train(_texts(language), kind, 300)
    assert tokenizer.get_vocab_size() <= 300 + 256
    for text in _texts(language)[:200]:
        clean = " ".join(unicodedata.normalize("NFC", text).split())
        assert tokenizer.decode(_ids(tokenizer, clean)) == clean


def test_sub_words_are_shorter_than_characters_and_characters_are_characters():
    texts = _texts("uk")
    length = {kind: sum(len(_ids(t, text)) for text in texts) for kind in KINDS for t in [train(texts, kind, 300)]}
    assert length["bpe"] < 0.8 * length["char"]
    assert length["unigram"] < 0.8 * length["char"]
    characters = train(["abc abc bca"], "char", 64)
    assert len(_ids(characters, "abc bca")) == len("abc") + len("bca") + 2


def test_little_text_gives_a_small_vocabulary():
    assert train(["a b"], "bpe", 64000).get_vocab_size() < 300


def _hash_elsewhere(kind, seed):
    program = (
        "import hashlib; from stepladder.data.preparing import names; from stepladder.data.tokenizer import train; "
        f"texts = [s for p in names.pairs('zh_CN')[:{PAIRS}] for s in p]; "
        f"print(hashlib.sha256(train(texts, {kind!r}, 300).to_str().encode()).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, check=True, env=os.environ | {"PYTHONHASHSEED": str(seed)},
    )  # fmt: skip
    return done.stdout.strip()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_texts_give_the_same_bytes_in_every_process(kind):
    here = hashlib.sha256(train(_texts("zh_CN"), kind, 300).to_str().encode()).hexdigest()
    assert {_hash_elsewhere(kind, seed) for seed in (1, 2)} == {here}

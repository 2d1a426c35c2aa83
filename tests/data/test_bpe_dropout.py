from random import Random

import numpy as np
import pytest
from tokenizers import Tokenizer

from stepladder.data.bpe_dropout import BPEDropout
from stepladder.data.buckets import Sentences
from stepladder.data.preparing.names import pairs
from stepladder.data.tokenizer import train

TEXTS = [text for pair in pairs("uk")[:1500] for text in pair] + ["a<b <s> ▁ 漢字 <0x41>"]


@pytest.fixture(scope="module")
def tokenizer():
    return train(TEXTS, "bpe", 400)


def sentences(tokenizer, texts=TEXTS):
    ids = [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    return Sentences(np.array([t for i in ids for t in i]), np.cumsum([0] + [len(i) for i in ids]))


def rows(found):
    return [found.tokens[a:b].tolist() for a, b in zip(found.offsets, found.offsets[1:], strict=False)]


def cutter(tokenizer, share=0.1, seed=0, given=None, longest=10**6):
    return BPEDropout(tokenizer, given or sentences(tokenizer), share, seed, longest)


def every(found):
    return np.arange(len(found.sentences))


def test_without_dropout_it_cuts_as_the_library_does(tokenizer):
    made = cutter(tokenizer, 0.0)
    assert rows(made.draw(every(made), 1)) == rows(made.sentences)
    random = Random(0)
    for word in made.words:
        assert made.cut(word, random, 0.0) == word


def test_what_is_cut_reads_as_before_and_in_more_tokens(tokenizer):
    made = cutter(tokenizer, 0.2)
    cut = rows(made.draw(every(made), 5))
    assert [tokenizer.decode(ids) for ids in cut] == [tokenizer.decode(ids) for ids in rows(made.sentences)]
    assert 1.05 < sum(map(len, cut)) / len(made.sentences.tokens) < 2.0


def test_a_draw_is_a_function_of_seed_and_stream_alone(tokenizer):
    one, other = cutter(tokenizer, seed=7), cutter(tokenizer, seed=7)
    other.draw(every(other)[::-1], 3)
    some = np.array([5, 900, 40, 2, 2, 1500])
    assert rows(one.draw(some, 8)) == rows(other.draw(some, 8))
    many = every(one)[:200]
    assert rows(one.draw(many, 9)) != rows(one.draw(many, 8))
    assert rows(cutter(tokenizer, seed=8).draw(many, 8)) != rows(one.draw(many, 8))


def test_the_share_of_merges_left_out_is_as_asked(tokenizer):
    """A word of one merge stays cut with the chance of the share."""
    merged = next(token for token in ("▁S", "ia", "an", "er") if tokenizer.token_to_id(token) is not None)
    made, random, word = cutter(tokenizer, 0.3), Random(0), (tokenizer.token_to_id(merged),)
    apart = np.mean([len(made.cut(word, random, 0.3)) == 2 for _ in range(4000)])
    assert apart == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_it_cuts_as_often_as_the_library(tokenizer, share):
    """The ``tokenizers`` library has BPE-dropout, too, without a seed: an oracle of the distribution."""
    made = cutter(tokenizer, share)
    ours = np.mean([len(made.draw(every(made), k).tokens) for k in range(5)])
    library = Tokenizer.from_str(tokenizer.to_str())
    library.model.dropout = share
    theirs = sum(len(e.ids) for _ in range(3) for e in library.encode_batch(TEXTS, add_special_tokens=False)) / 3
    assert ours / theirs == pytest.approx(1, abs=0.02)


def test_a_sentence_that_would_be_too_long_stays_as_it_was(tokenizer):
    given = sentences(tokenizer, TEXTS[:40])
    longest = int(given.lengths.max())
    made = cutter(tokenizer, 0.9, given=given, longest=longest)
    cut = rows(made.draw(every(made), 1))
    assert max(map(len, cut)) <= longest
    assert cut[int(given.lengths.argmax())] == rows(given)[int(given.lengths.argmax())]
    assert cut != rows(given)

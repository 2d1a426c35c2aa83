import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stepladder.transformer.inference.decoding import Hypothesis, beam_search, greedy, length_penalty, top
from stepladder.transformer.networks.seq2seq import Seq2Seq
from tests.transformer import tiny

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=5)
ENDS = {"bos": tiny.BOS, "eos": tiny.EOS}


def _model(seed: int) -> Seq2Seq:
    """Random weights that end their sentences now and then."""
    model = tiny.model(seed, tied=False)
    with torch.no_grad():
        model.output[tiny.EOS] = model.output[3:].mean(0) * 3 + torch.randn(16) * 0.4
    return model


def log_probability(model: Seq2Seq, source: torch.Tensor, tokens: list[int]) -> float:
    target = torch.tensor([[tiny.BOS, *tokens]])
    table = model(source[None], target).log_softmax(-1)[0]
    return sum(table[t, token].item() for t, token in enumerate([*tokens, tiny.EOS]))


@settings(max_examples=25, deadline=None)
@given(LENGTHS, st.integers(0, 20))
def test_greedy_is_a_beam_of_one(lengths: list[int], seed: int) -> None:
    model, source = _model(seed), tiny.sentences(lengths, seed)
    found = beam_search(model, source, beam_size=1, alpha=0.6, max_length=12, **ENDS)
    assert [h[0].tokens for h in found] == greedy(model, source, max_length=12, **ENDS)


@settings(max_examples=25, deadline=None)
@given(LENGTHS, st.integers(0, 20))
def test_greedy_is_the_likeliest_token_over_and_over(lengths: list[int], seed: int) -> None:
    model, source = _model(seed), tiny.sentences(lengths, seed)
    for i, found in enumerate(greedy(model, source, max_length=10, **ENDS)):
        tokens: list[int] = []
        while len(tokens) < 10:
            scores = model(source[i : i + 1, : lengths[i]], torch.tensor([[tiny.BOS, *tokens]]))
            if (best := int(scores[0, -1].argmax())) == tiny.EOS:
                break
            tokens.append(best)
        assert found == tokens


@settings(max_examples=20, deadline=None)
@given(LENGTHS, st.integers(1, 5), st.integers(0, 20))
def test_each_sentence_as_if_alone_and_unpadded(lengths: list[int], beams: int, seed: int) -> None:
    model, source = _model(seed), tiny.sentences(lengths, seed)
    options = {"beam_size": beams, "alpha": 0.6, "max_length": 10, **ENDS}
    together = beam_search(model, source, **options)
    for i, length in enumerate(lengths):
        alone = beam_search(model, source[i : i + 1, :length], **options)[0]
        assert [h.tokens for h in together[i]] == [h.tokens for h in alone]


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_scores_are_penalised_log_probabilities_best_first(alpha: float) -> None:
    model, source = _model(1), tiny.sentences([4, 6], 1)
    for i, found in enumerate(beam_search(model, source, beam_size=4, alpha=alpha, max_length=30, **ENDS)):
        assert 1 <= len(found) <= 4
        assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
        assert len({tuple(h.tokens) for h in found}) == len(found)
        for h in found:
            if len(h.tokens) < 30:
                expected = log_probability(model, source[i], h.tokens) / length_penalty(len(h.tokens) + 1, alpha)
                assert h.score == pytest.approx(expected, abs=1e-4)


def test_a_beam_of_everything_finds_the_best_there_is() -> None:
    torch.manual_seed(0)
    model = Seq2Seq(5, 16, 32, 4, 1, 1, 0.0, "pre", False, pad=0).eval()
    with torch.no_grad():
        model.output.mul_(3)
    source = torch.tensor([[3, 4, 4]])
    (found,) = beam_search(model, source, beam_size=64, alpha=0.0, max_length=3, **ENDS)
    every = [list(t) for n in range(3) for t in itertools.product([0, 1, 3, 4], repeat=n)]
    scores = {tuple(t): log_probability(model, source[0], t) for t in every}
    finished = [h for h in found if len(h.tokens) < 3]
    best = max(scores, key=lambda t: scores[t])
    assert tuple(finished[0].tokens) == best
    assert finished[0].score == pytest.approx(scores[best], abs=1e-4)


def test_length_penalty_is_wu_et_al_and_favours_length() -> None:
    assert length_penalty(1, 0.6) == 1
    assert length_penalty(10, 0.6) == pytest.approx(15**0.6 / 6**0.6)
    model, source = _model(4), tiny.sentences([5] * 8, 4)
    mean = [
        sum(len(h[0].tokens) for h in beam_search(model, source, beam_size=4, alpha=a, max_length=20, **ENDS))
        for a in (0.0, 2.0)
    ]
    assert mean[1] >= mean[0]


def test_nothing_in_nothing_out() -> None:
    empty = torch.zeros(0, 3, dtype=torch.long)
    assert greedy(tiny.model(), empty, max_length=5, **ENDS) == []
    assert beam_search(tiny.model(), empty, beam_size=2, alpha=0.6, max_length=5, **ENDS) == []


def test_hypotheses_end_at_the_longest_length() -> None:
    model, source = tiny.model(), tiny.sentences([4])
    with torch.no_grad():
        model.target_embedding[tiny.EOS] = 0
    (found,) = beam_search(model, source, beam_size=3, alpha=0.6, max_length=6, **ENDS)
    assert all(isinstance(h, Hypothesis) and len(h.tokens) <= 6 for h in found)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 1000), st.integers(1, 12), st.integers(0, 100))
def test_top_is_topk(entries: int, k: int, seed: int) -> None:
    scores, k = torch.randn(2, 3, entries, generator=torch.Generator().manual_seed(seed)), min(k, entries)
    for found, expected in zip(top(scores, k), scores.topk(k), strict=True):
        assert torch.equal(found, expected)

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.nn import functional as F
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from stepladder.params import Decoding
from stepladder.transformer.inference import sampling
from stepladder.transformer.inference.decoding import beam_search, greedy
from stepladder.transformer.networks.causal_lm import CausalLM
from tests.transformer import tiny
from tests.transformer.inference.test_decoding import ENDS, LENGTHS, _model

SEEDS = st.integers(0, 2**16)
DRAWING = st.builds(
    Decoding,
    method=st.just("sample"),
    temperature=st.floats(0.3, 3),
    top_k=st.integers(0, 8),
    top_p=st.floats(0.2, 1),
    min_p=st.floats(0, 0.3),
    repetition_penalty=st.floats(1, 2),
    max_length=st.just(10),
)


def logits(seed: int, rows: int = 3, vocabulary: int = 29) -> torch.Tensor:
    return 3 * torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(seed))


def causal(seed: int, **options: Any) -> CausalLM:
    """Random weights that end their texts now and then."""
    model = tiny.causal_lm(seed, tie_embeddings=False, **options)
    with torch.no_grad():
        model.output.mul_(2)
        model.output[tiny.EOS] = model.output[3:].mean(0) * 3 + torch.randn(16) * 0.4
    return model


def history(seed: int, rows: int = 3, vocabulary: int = 29) -> torch.Tensor:
    return torch.randint(vocabulary, (rows, 6), generator=torch.Generator().manual_seed(seed))


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.floats(0.05, 5), st.integers(1, 40), st.floats(0.01, 0.99), st.floats(0.01, 1), st.floats(0.5, 3))
def test_each_is_that_of_transformers(
    seed: int, heat: float, k: int, nucleus: float, least: float, penalty: float
) -> None:
    given_, said = logits(seed), history(seed)
    for ours, theirs in (
        (sampling.temperature(given_, heat), TemperatureLogitsWarper(heat)),
        (sampling.top_k(given_, k), TopKLogitsWarper(k)),
        (sampling.top_p(given_, nucleus), TopPLogitsWarper(nucleus)),
        (sampling.min_p(given_, least), MinPLogitsWarper(least)),
        (sampling.repetition_penalty(given_, said, penalty), RepetitionPenaltyLogitsProcessor(penalty)),
    ):
        torch.testing.assert_close(ours, theirs(said, given_.clone()))


def test_all_together_are_in_the_order_of_transformers() -> None:
    asked = Decoding(method="sample", temperature=0.7, top_k=12, top_p=0.9, min_p=0.02, repetition_penalty=1.4)
    given_, said = logits(3, 50), history(4, 50)
    expected = given_.clone()
    for theirs in (
        RepetitionPenaltyLogitsProcessor(1.4), TemperatureLogitsWarper(0.7), TopKLogitsWarper(12), TopPLogitsWarper(0.9),
        MinPLogitsWarper(0.02),
    ):  # fmt: skip
        expected = theirs(said, expected)
    torch.testing.assert_close(sampling.adjusted(given_, said, asked), expected)
    as_it_is = sampling.adjusted(given_, said, Decoding(method="sample"))
    assert torch.equal(as_it_is, given_)


@settings(max_examples=30, deadline=None)
@given(SEEDS, DRAWING)
def test_something_is_always_left_and_only_that_is_drawn(seed: int, asked: Decoding) -> None:
    left = sampling.adjusted(logits(seed), history(seed), asked)
    assert torch.isfinite(left).any(-1).all()
    for u in (0.0, 0.5, 1 - 2**-53):
        drawn = sampling.draw(left, torch.full((3,), u, dtype=torch.float64))
        assert torch.isfinite(left.gather(1, drawn[:, None])).all()


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    one, count = torch.tensor([[0.0, 2.0, -torch.inf, 1.0, -1.0]]), 40_000
    numbers = sampling.uniforms(7, [0], count)[0]
    drawn = F.one_hot(sampling.draw(one.expand(count, -1), numbers), 5).double().mean(0)
    expected = one[0].double().softmax(-1)
    spread = (expected * (1 - expected) / count).sqrt()
    assert ((drawn - expected).abs() <= 4 * spread).all()


def test_numbers_are_a_samples_own() -> None:
    both = sampling.uniforms(3, [0, 5], 9)
    assert torch.equal(both[1, :4], sampling.uniforms(3, [5], 4)[0])
    assert not torch.equal(both[0], both[1])
    assert not torch.equal(both, sampling.uniforms(4, [0, 5], 9))


@settings(max_examples=20, deadline=None)
@given(LENGTHS, st.integers(0, 20), DRAWING)
def test_a_sample_does_not_depend_on_its_batch(lengths: list[int], seed: int, asked: Decoding) -> None:
    model, source = _model(seed), tiny.sentences(lengths, seed)
    together = sampling.sample(model, source, asked, seed=seed, **ENDS)
    order = list(reversed(range(len(lengths))))
    assert [together[i] for i in order] == sampling.sample(
        model, source[order], asked, seed=seed, samples=order, **ENDS
    )
    for i, length in enumerate(lengths):
        alone = sampling.sample(model, source[i : i + 1, :length], asked, seed=seed, samples=[i], **ENDS)
        assert alone == [together[i]]


@settings(max_examples=20, deadline=None)
@given(LENGTHS, st.integers(0, 20))
def test_the_likeliest_one_is_greedy(lengths: list[int], seed: int) -> None:
    model, source = _model(seed), tiny.sentences(lengths, seed)
    drawn = sampling.sample(model, source, Decoding(method="sample", top_k=1, max_length=12), seed=seed, **ENDS)
    assert drawn == greedy(model, source, max_length=12, **ENDS)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 20), DRAWING)
def test_cached_is_uncached(seed: int, asked: Decoding) -> None:
    model, source = _model(seed), tiny.sentences([5], seed)
    numbers, tokens = sampling.uniforms(seed, [0], 10)[0], [tiny.BOS]
    for number in numbers:
        said = torch.tensor([tokens])
        newest = int(sampling.draw(sampling.adjusted(model(source, said)[:, -1], said, asked), number[None]))
        if newest == tiny.EOS:
            break
        tokens.append(newest)
    assert sampling.sample(model, source, asked, seed=seed, **ENDS) == [tokens[1:]]


def test_a_step_tells_of_those_that_are_not_finished() -> None:
    model, source = _model(2), tiny.sentences([3, 5, 4, 6], 2)
    asked = Decoding(method="sample", max_length=60)
    steps = list(sampling.stream(model, source, asked, seed=1, **ENDS))
    rows = [[row for row, _ in step] for step in steps]
    assert all(set(later) <= set(earlier) for earlier, later in itertools.pairwise(rows))
    found = [[token for step in steps for row, token in step if row == i] for i in range(4)]
    assert found == sampling.sample(model, source, asked, seed=1, **ENDS)
    assert len({len(tokens) for tokens in found}) > 1
    assert sampling.sample(model, source[:0], asked, **ENDS) == []


@pytest.mark.parametrize(
    "values",
    [{"temperature": 0.5}, {"top_k": 3}, {"top_p": 0.9}, {"min_p": 0.1}, {"repetition_penalty": 1.2}],
)
def test_a_search_that_draws_nothing_refuses_what_is_of_drawing(values: dict[str, Any]) -> None:
    (name, value), *_ = values.items()
    with pytest.raises(ValidationError, match=f"decoding.{name}={value:g} with decoding.method=beam"):
        Decoding(**values)
    assert getattr(Decoding(method="sample", **values), name) == value
    with pytest.raises(ValidationError):
        Decoding(method="sample", **{name: -1})


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 9), st.integers(0, 20), DRAWING)
def test_a_prompt_is_gone_on_from_as_without_a_cache(length: int, seed: int, asked: Decoding) -> None:
    model, prompt = causal(seed), tiny.sentences([length] * 2, seed)
    numbers = sampling.uniforms(seed, range(2), 10)
    for i, found in enumerate(sampling.sample(model, prompt, asked, seed=seed, **ENDS)):
        said = prompt[i : i + 1]
        for number in numbers[i]:
            newest = sampling.draw(sampling.adjusted(model(said)[:, -1], said, asked), number[None])
            if newest == tiny.EOS:
                break
            said = torch.cat([said, newest[None]], dim=1)
        assert found == said[0, length:].tolist()


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 9), st.integers(0, 20))
def test_of_a_prompt_too_greedy_is_a_beam_of_one_and_the_likeliest_one(length: int, seed: int) -> None:
    model, prompt = causal(seed), tiny.sentences([length] * 3, seed)
    found = greedy(model, prompt, max_length=12, **ENDS)
    beam = beam_search(model, prompt, beam_size=1, alpha=0.6, max_length=12, **ENDS)
    assert [h[0].tokens for h in beam] == found
    assert sampling.sample(model, prompt, Decoding(method="sample", top_k=1, max_length=12), **ENDS) == found


def test_a_model_of_few_positions_goes_on_by_forgetting() -> None:
    model, prompt = causal(1, positions="learned", max_length=8), tiny.sentences([20], 1)
    asked = Decoding(method="sample", top_k=1, max_length=30)
    (found,) = sampling.sample(model, prompt, asked, bos=tiny.BOS, eos=-1, context=8)
    said, read = prompt[0].tolist(), 8
    for token in found:
        assert token == int(model(torch.tensor([said[-read:]]))[0, -1].argmax())
        said.append(token)
        read = 5 if read == 8 else read + 1
    assert len(found) == 30


@pytest.mark.parametrize("value", [1e-3, 1e-6, 1e-30, 1e-44])
def test_however_cold_the_likeliest_is_drawn(value):
    """The quotient of a logit and such a temperature leaves the range of float32."""
    logits = torch.tensor([[5.0, 90.0, -90.0], [-3.0, -1.0, -2.0]])
    drawn = sampling.draw(sampling.temperature(logits, value), torch.tensor([0.999, 0.001]))
    assert drawn.tolist() == [1, 1]

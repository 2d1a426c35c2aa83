from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stepladder.errors import UserError
from tests.transformer import tiny

close = torch.testing.assert_close
MECHANISMS = pytest.mark.parametrize("options", tiny.MECHANISMS.values(), ids=tiny.MECHANISMS)


def texts(rows: int, length: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(3, tiny.VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(seed))


@MECHANISMS
@settings(max_examples=8, deadline=None)
@given(st.integers(1, 3), st.integers(1, 20), st.integers(1, 25), st.integers(0, 5))
def test_cached_equals_uncached_after_any_prompt(
    options: dict[str, Any], rows: int, prompt: int, steps: int, seed: int
) -> None:
    model, tokens = tiny.causal_lm(seed, **options), texts(rows, prompt + steps, seed)
    with torch.inference_mode():
        whole, cache = model(tokens), model.start(tokens[:, :prompt])
        for t in range(prompt - 1, prompt + steps):
            close(model.step(tokens[:, t : t + 1], cache)[:, 0], whole[:, t], atol=1e-5, rtol=1e-5)


@MECHANISMS
def test_hypotheses_of_a_prompt_go_their_own_ways(options: dict[str, Any]) -> None:
    model, prompt, after = tiny.causal_lm(**options), texts(2, 5), texts(6, 3, 1).view(2, 3, 3)
    with torch.inference_mode():
        cache = model.start(prompt, beams=3)
        model.step(prompt[:, -1:].expand(2, 3), cache)
        for t in range(3):
            found = model.step(after[:, :, t], cache)
        whole = torch.cat([prompt.repeat_interleave(3, 0), after.flatten(0, 1)], dim=1)
        close(found.flatten(0, 1), model(whole)[:, -1], atol=1e-5, rtol=1e-5)


def test_an_empty_cache_starts_from_the_first_token() -> None:
    model, tokens = tiny.causal_lm(), texts(3, 1)
    with torch.inference_mode():
        close(model.step(tokens, model.start(3)), model(tokens))


@MECHANISMS
@settings(max_examples=5, deadline=None)
@given(st.integers(2, 12), st.integers(0, 11), st.integers(0, 5))
def test_causal_later_tokens_change_nothing_before(options: dict[str, Any], length: int, at: int, seed: int) -> None:
    model, tokens, at = tiny.causal_lm(seed, **options), texts(2, length, seed), at % length
    changed = tokens.clone()
    changed[:, at] = (changed[:, at] - 2) % (tiny.VOCABULARY - 3) + 3
    before, after = model(tokens), model(changed)
    close(before[:, :at], after[:, :at], atol=1e-6, rtol=1e-6)
    assert not torch.allclose(before[:, at], after[:, at])


@MECHANISMS
def test_padding_behind_and_batch_order_change_nothing(options: dict[str, Any]) -> None:
    model, tokens, order = tiny.causal_lm(**options), tiny.sentences([4, 9, 2]), torch.tensor([2, 0, 1])
    together = model(tokens)
    close(model(tokens[order]), together[order], atol=1e-5, rtol=1e-5)
    for i, length in enumerate([4, 9, 2]):
        close(model(tokens[i : i + 1, :length])[0], together[i, :length], atol=1e-5, rtol=1e-5)


def test_more_positions_than_were_learned_are_refused() -> None:
    with pytest.raises(UserError, match="learned 8 positions and was given a text of 9 tokens"):
        tiny.causal_lm(positions="learned")(texts(1, 9))


def test_tied_embeddings_are_one_parameter() -> None:
    assert sum(p.shape[0] == tiny.VOCABULARY for p in tiny.causal_lm().parameters()) == 1
    assert sum(p.shape[0] == tiny.VOCABULARY for p in tiny.causal_lm(tie_embeddings=False).parameters()) == 2

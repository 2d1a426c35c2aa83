from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transformer import tiny

LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=4)
close = torch.testing.assert_close


@pytest.mark.parametrize("options", [{"norm": "post"}, *tiny.MECHANISMS.values()], ids=["post", *tiny.MECHANISMS])
@settings(max_examples=8, deadline=None)
@given(LENGTHS, st.integers(1, 40), st.integers(0, 5))
def test_cached_equals_uncached(options: dict[str, Any], lengths: list[int], steps: int, seed: int) -> None:
    model, source = tiny.model(seed, **options), tiny.sentences(lengths, seed)
    target = torch.randint(1, tiny.VOCABULARY, (len(lengths), steps))
    with torch.inference_mode():
        whole, cache = model(source, target), model.start(source)
        for t in range(steps):
            close(model.step(target[:, t : t + 1], cache)[:, 0], whole[:, t], atol=1e-5, rtol=1e-5)


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 10), st.integers(0, 9), st.integers(0, 5))
def test_causal_later_tokens_change_nothing_before(steps: int, at: int, seed: int) -> None:
    model, source, at = tiny.model(seed), tiny.sentences([5, 3]), at % steps
    target = torch.randint(1, tiny.VOCABULARY, (2, steps))
    changed = target.clone()
    changed[:, at] = (changed[:, at] + 1) % tiny.VOCABULARY
    before, after = model(source, target), model(source, changed)
    close(before[:, :at], after[:, :at], atol=1e-6, rtol=1e-6)
    assert not torch.allclose(before[:, at], after[:, at])


@settings(max_examples=15, deadline=None)
@given(LENGTHS, st.integers(0, 5), st.integers(0, 5))
def test_padding_and_company_change_nothing(lengths: list[int], more: int, seed: int) -> None:
    model, source = tiny.model(seed), tiny.sentences(lengths, seed)
    target = torch.randint(1, tiny.VOCABULARY, (len(lengths), 4))
    padded = torch.nn.functional.pad(source, (0, more), value=tiny.PAD)
    together = model(padded, target)
    for i, length in enumerate(lengths):
        alone = model(source[i : i + 1, :length], target[i : i + 1])
        close(together[i : i + 1], alone, atol=1e-5, rtol=1e-5)


def test_batch_order_changes_nothing() -> None:
    model, source = tiny.model(), tiny.sentences([4, 9, 2, 6])
    target, order = torch.randint(1, tiny.VOCABULARY, (4, 5)), torch.tensor([2, 0, 3, 1])
    close(model(source, target)[order], model(source[order], target[order]), atol=1e-6, rtol=1e-6)


def test_tied_embeddings_are_one_parameter() -> None:
    assert sum(p.shape[0] == tiny.VOCABULARY for p in tiny.model(tied=True).parameters()) == 1
    assert sum(p.shape[0] == tiny.VOCABULARY for p in tiny.model(tied=False).parameters()) == 3


def test_lone_padded_row_is_finite_and_trains() -> None:
    model = tiny.model().train()
    model(tiny.sentences([1, 7]), torch.ones(2, 3, dtype=torch.long)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepladder.data.buckets import Buckets, Sentences, part
from stepladder.errors import UserError


def _lengths(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    source = random.integers(2, 40, n)
    return source, np.clip(source + random.integers(-3, 4, n), 2, 45)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 500), st.integers(45, 3000), st.integers(0, 3))
def test_an_epoch_has_every_row_once_and_the_same_number_of_batches(n: int, budget: int, seed: int) -> None:
    source, target = _lengths(n, seed)
    buckets = Buckets(source, target, budget, seed)
    for epoch in range(3):
        rows = [buckets.rows(epoch * buckets.batches + i) for i in range(buckets.batches)]
        assert sorted(np.concatenate(rows)) == list(range(n))
        assert all(target[r].sum() <= budget + target.max() for r in rows)


def test_a_batch_is_a_function_of_seed_and_number_alone() -> None:
    source, target = _lengths(3000)
    one, other = Buckets(source, target, 500, 7), Buckets(source, target, 500, 7)
    for k in (0, 5, 400, 1, 1000):
        assert np.array_equal(one.rows(k), other.rows(k))
    assert not np.array_equal(Buckets(source, target, 500, 8).rows(0), one.rows(0))
    assert not np.array_equal(one.rows(0), one.rows(one.batches))


def test_little_padding() -> None:
    source, target = _lengths(20000)
    assert Buckets(source, target, 2048, 0).padding() < 0.08
    assert Buckets(source, target, 2048, 0).padding() > 0


def test_no_batch_wastes_the_budget() -> None:
    source, target = _lengths(20000)
    buckets = Buckets(source, target, 2048, 0)
    tokens = [target[buckets.rows(k)].sum() for k in range(buckets.batches)]
    assert min(tokens) > 0.9 * 2048
    assert np.mean(tokens) > 0.98 * 2048


@given(st.integers(0, 30), st.integers(1, 8))
def test_parts_make_up_the_whole(n: int, parts: int) -> None:
    rows = np.arange(n)
    pieces = [part(rows, i, parts) for i in range(parts)]
    assert sorted(np.concatenate(pieces)) == list(range(n))
    assert max(map(len, pieces)) - min(map(len, pieces)) <= 1


def test_padded_puts_ends_around_and_padding_after() -> None:
    sentences = Sentences(np.array([5, 6, 7, 8, 9], dtype=np.uint16), np.array([0, 3, 3, 5]))
    assert sentences.lengths.tolist() == [3, 0, 2]
    assert sentences.padded(np.array([2, 0, 1]), 0, before=[1], after=[2]).tolist() == [
        [1, 8, 9, 2, 0],
        [1, 5, 6, 7, 2],
        [1, 2, 0, 0, 0],
    ]


def test_budget_below_the_longest_target_is_refused() -> None:
    with pytest.raises(UserError, match=r"batch_size=30 .* 45; give at least that"):
        Buckets(np.array([3, 3]), np.array([45, 2]), 30, 0)
    with pytest.raises(UserError, match="no sentence pairs"):
        Buckets(np.array([], dtype=int), np.array([], dtype=int), 30, 0)

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder.data.blocks import Blocks, in_order
from stepladder.errors import UserError


def test_a_batch_is_contiguous_text_and_a_function_of_seed_and_number_alone() -> None:
    tokens = np.arange(1000, dtype=np.uint16)
    one, other = Blocks(tokens, 17, 4, 3), Blocks(tokens, 17, 4, 3)
    for k in (0, 7, 1000, 3, 1):
        batch = one.batch(k)
        assert batch.shape == (4, 17)
        assert (np.diff(batch, axis=1) == 1).all()
        assert np.array_equal(batch, other.batch(k))
    assert not np.array_equal(one.batch(0), Blocks(tokens, 17, 4, 4).batch(0))


def test_an_epoch_reads_no_token_twice_and_begins_elsewhere_each_time() -> None:
    blocks = Blocks(np.arange(1000), 10, blocks_a_batch := 9, 0)
    assert blocks.blocks == 99
    epochs = []
    for epoch in range(3):
        read = np.concatenate([blocks.batch(epoch * 11 + k).ravel() for k in range(99 // blocks_a_batch)])
        assert len(np.unique(read)) == len(read) == 990
        epochs.append(read.min())
    assert len(set(epochs)) > 1


def test_text_shorter_than_two_blocks_is_refused() -> None:
    with pytest.raises(UserError, match=r"has 33 tokens, fewer than two blocks of 17"):
        Blocks(np.arange(33), 17, 1, 0)
    assert Blocks(np.arange(34), 17, 1, 0).batch(5).shape == (1, 17)


@given(st.integers(2, 200), st.integers(1, 20))
def test_held_out_text_is_wanted_once_token_by_token(count: int, context: int) -> None:
    rows = in_order(np.arange(1, count + 1), context + 1, context, 0)
    wanted = rows[:, 1:][rows[:, 1:] != 0]
    assert wanted.tolist() == list(range(2, count + 1))
    whole = in_order(np.arange(1, count + 1), context, context, 0)
    assert whole[whole != 0].tolist() == list(range(1, count + 1))

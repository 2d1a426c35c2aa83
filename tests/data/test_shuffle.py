import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stepladder.data.shuffle import Shuffle

sizes = st.integers(1, 50)


@given(sizes, sizes, st.integers(0, 2**31 - 1))
def test_each_epoch_has_every_row_once(examples, size, seed):
    shuffle = Shuffle(examples, size, seed)
    epochs = 4
    rows = np.concatenate([shuffle.rows(k) for k in range(-(-epochs * examples // size))])
    for epoch in range(epochs):
        assert sorted(rows[epoch * examples : (epoch + 1) * examples]) == list(range(examples))


@given(sizes, sizes, st.lists(st.integers(0, 10**9), min_size=1, max_size=5))
def test_a_batch_is_a_function_of_its_number_alone(examples, size, numbers):
    used = Shuffle(examples, size, 0)
    for k in numbers:
        found = used.rows(k)
        assert found.shape == (size,)
        assert (found == Shuffle(examples, size, 0).rows(k)).all()


def test_epochs_and_seeds_differ():
    shuffle = Shuffle(100, 100, 0)
    orders = [shuffle.rows(0), shuffle.rows(1), Shuffle(100, 100, 1).rows(0), shuffle.all(100)]
    assert len({tuple(order) for order in orders}) == 4


def test_the_order_of_another_set_has_every_row_once():
    assert sorted(Shuffle(10, 3, 0).all(25)) == list(range(25))

import torch
from hypothesis import given
from hypothesis import strategies as st

from stepladder.tasks.randomness import generator, mix

integers = st.integers(0, 2**40)


@given(st.lists(integers, min_size=1, max_size=4), st.lists(integers, min_size=1, max_size=4))
def test_streams_are_the_same_exactly_when_their_names_are(a, b):
    assert (mix(*a) == mix(*b)) == (a == b)
    assert 0 <= mix(*a) < 2**63


def test_streams_do_not_overlap():
    draws = torch.stack([torch.randn(1000, generator=generator(0, k)) for k in range(20)])
    correlation = torch.corrcoef(draws) - torch.eye(20)
    assert correlation.abs().max() < 0.2

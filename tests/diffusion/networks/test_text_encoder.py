import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stepladder.diffusion.networks.text_encoder import TextEncoder
from stepladder.errors import UserError

VOCABULARY, LENGTH, WIDTH = 20, 8, 16
LENGTHS = st.lists(st.integers(0, LENGTH), min_size=2, max_size=5)
close = torch.testing.assert_close


def encoder(seed: int = 0, length: int = LENGTH, dropout: float = 0.0) -> TextEncoder:
    torch.manual_seed(seed)
    return TextEncoder(VOCABULARY, length, WIDTH, depth=2, heads=4, dropout=dropout)


def texts(lengths: list[int], seed: int = 0) -> torch.Tensor:
    tokens = torch.randint(1, VOCABULARY, (len(lengths), LENGTH), generator=torch.Generator().manual_seed(seed))
    return tokens * (torch.arange(LENGTH) < torch.tensor(lengths)[:, None])


@settings(max_examples=20, deadline=None)
@given(LENGTHS, st.integers(1, 9), st.integers(0, 5))
def test_padding_and_company_change_nothing(lengths: list[int], more: int, seed: int) -> None:
    model, text = encoder(seed, LENGTH + 9), texts(lengths, seed)
    context, mask = model(text)
    longer, longer_mask = model(torch.nn.functional.pad(text, (0, more)))
    close(longer[:, :LENGTH], context, atol=1e-5, rtol=1e-5)
    assert not longer_mask[:, LENGTH:].any()
    assert not longer[:, LENGTH:].any()
    for row, alone in zip(context, text, strict=True):
        close(model(alone[None])[0][0], row, atol=1e-5, rtol=1e-5)
    assert torch.equal(mask.sum(1), torch.tensor([max(n, 1) for n in lengths]))


@settings(max_examples=10, deadline=None)
@given(LENGTHS, st.integers(0, 5))
def test_the_order_of_the_batch_changes_nothing(lengths: list[int], seed: int) -> None:
    model, text = encoder(seed), texts(lengths, seed)
    order = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(seed))
    close(model(text[order])[0], model(text)[0][order], atol=1e-5, rtol=1e-5)


def test_the_order_of_the_tokens_does_change_it() -> None:
    model, text = encoder(), torch.tensor([[3, 5, 0, 0], [5, 3, 0, 0]])
    context, _ = model(text)
    assert not torch.allclose(context[0, 0], context[1, 1], atol=1e-2)
    assert (context[:, :2].std(dim=-1) > 0.9).all(), "normalised at the end"


def test_no_text_is_the_learned_vector_alone() -> None:
    model = encoder()
    context, mask = model(texts([0, 3]))
    assert torch.equal(context[0, 0], model.null)
    assert not context[0, 1:].any()
    assert mask[0].tolist() == [True] + [False] * (LENGTH - 1)
    assert context.isfinite().all()
    context[0].sum().backward()
    assert torch.equal(model.null.grad, torch.ones(WIDTH))
    assert all(p.grad is not None for p in model.parameters()), "every rank reduces every gradient"
    assert all(not p.grad.any() and p.grad.isfinite().all() for p in model.parameters() if p is not model.null)


def test_dropout_is_for_training_only() -> None:
    model, text = encoder(dropout=0.5), texts([4, 2])
    assert not torch.equal(model(text)[0], model(text)[0])
    model.eval()
    assert torch.equal(model(text)[0], model(text)[0])


@pytest.mark.parametrize(("width", "heads"), [(18, 4), (15, 5)])
def test_an_impossible_width_is_refused(width: int, heads: int) -> None:
    with pytest.raises(UserError, match=f"d_model={width} must be even and a multiple of its heads={heads}"):
        TextEncoder(VOCABULARY, LENGTH, width, depth=1, heads=heads, dropout=0.0)

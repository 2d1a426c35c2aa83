import pytest
import torch

from stepladder.transformer.blocks.dropout import Dropout, DropPath, keep_mask


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.9])
def test_share_dropped_and_mean_kept(p: float) -> None:
    torch.manual_seed(0)
    mask = keep_mask(torch.empty(1000, 401), p)
    assert (mask == 0).float().mean().item() == pytest.approx(p, abs=0.003)
    assert mask.mean().item() == pytest.approx(1, abs=0.02)
    assert mask.unique().numel() == 2


def test_gradient_passes_where_kept() -> None:
    x = torch.ones(64, 9, requires_grad=True)
    y = Dropout(0.3)(x)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_same_seed_same_mask_and_neighbours_independent() -> None:
    torch.manual_seed(3)
    first = keep_mask(torch.empty(100_000), 0.5) > 0
    torch.manual_seed(3)
    assert torch.equal(first, keep_mask(torch.empty(100_000), 0.5) > 0)
    for lag in (1, 2, 3, 4):
        assert (first[lag:] == first[:-lag]).float().mean().item() == pytest.approx(0.5, abs=0.01)


def test_nothing_in_evaluation_or_at_zero() -> None:
    x = torch.randn(5)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_stochastic_depth_drops_whole_examples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    skipped = DropPath(0.3)(torch.ones(4000, 2, 3))
    assert (skipped.flatten(1) == skipped[:, :1, 0]).all()
    assert (skipped[:, 0, 0] == 0).float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert skipped.mean().item() == pytest.approx(1, abs=0.05)
    x = torch.randn(5, 2)
    assert DropPath(0.3).eval()(x) is x

import pytest
import torch
from torch import nn

from stepladder.transformer.blocks.attention import (
    CrossAttention,
    SelfAttention,
    attention,
    causal_mask,
    fast_attention,
    padding_mask,
)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def _qkv(t: int = 5, s: int = 5) -> tuple[torch.Tensor, ...]:
    return torch.randn(3, 2, t, 8), torch.randn(3, 2, s, 8), torch.randn(3, 2, s, 8)


@pytest.mark.parametrize("causal", [False, True])
def test_written_out_equals_fast(causal: bool) -> None:
    q, k, v = _qkv()
    torch.testing.assert_close(attention(q, k, v, causal=causal)[0], fast_attention(q, k, v, causal=causal))


@pytest.mark.parametrize("scale", [None, 1.0, 0.3])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_written_out_equals_fast_with_any_scale_bias_and_groups(scale: float | None, groups: int) -> None:
    q, k, v = torch.randn(3, 4, 5, 8), torch.randn(3, groups, 6, 8), torch.randn(3, groups, 6, 8)
    bias = torch.randn(4, 5, 6).masked_fill(torch.rand(4, 5, 6) < 0.2, -torch.inf)
    output, weights = attention(q, k, v, bias, scale=scale)
    torch.testing.assert_close(output, fast_attention(q, k, v, bias, scale=scale), atol=1e-6, rtol=1e-5)
    assert (weights[:, bias == -torch.inf] == 0).all()


def test_grouped_heads_are_equal_heads_repeated() -> None:
    q, k, v = torch.randn(2, 4, 5, 8), torch.randn(2, 2, 5, 8), torch.randn(2, 2, 5, 8)
    repeated = attention(q, k[:, [0, 0, 1, 1]], v[:, [0, 0, 1, 1]])
    torch.testing.assert_close(attention(q, k, v), repeated)


@pytest.mark.parametrize(("scale", "factor"), [("sqrt", 1 / 8**0.5), ("none", 1.0), ("learned", 3 / 8**0.5)])
def test_scale_of_a_module(scale: str, factor: float) -> None:
    ours, x = SelfAttention(32, 4, scale=scale, kv_heads=2), torch.randn(2, 5, 32)
    if scale == "learned":
        nn.init.constant_(ours.scale.learned, 3.0)
    q, k, v = (part.unflatten(-1, (-1, 8)).transpose(1, 2) for part in ours.query_key_value(x).split([32, 16, 16], -1))
    expected = ours.output(attention(q, k, v, scale=factor)[0].transpose(1, 2).flatten(2))
    torch.testing.assert_close(ours(x), expected, atol=1e-6, rtol=1e-5)


def test_unscaled_attention_saturates_and_its_gradient_vanishes() -> None:
    q, k = torch.randn(1, 1, 64, 256, requires_grad=True), torch.randn(1, 1, 64, 256)
    gradients = []
    for scale in (None, 1.0):
        # of a score, through the softmax
        _, weights = attention(q, k, k, scale=scale)
        gradients.append((weights * (1 - weights)).mean().item())
    assert gradients[1] < gradients[0] / 5


def test_mask_hides_padding_in_both() -> None:
    q, k, v = _qkv(4, 6)
    mask = padding_mask(torch.tensor([[5, 5, 5, 0, 0, 0], [5] * 6, [5, 0, 0, 0, 0, 0]]), pad=0)
    output, weights = attention(q, k, v, mask)
    torch.testing.assert_close(output, fast_attention(q, k, v, mask))
    assert (weights[0, :, :, 3:] == 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 2, 4))


def test_equals_the_equation_by_hand() -> None:
    q, k, v = _qkv(1, 2)
    score = torch.tensor([float(q[0, 0, 0] @ k[0, 0, i]) / 8**0.5 for i in range(2)])
    share = score.exp() / score.exp().sum()
    torch.testing.assert_close(attention(q, k, v)[0][0, 0, 0], share[0] * v[0, 0, 0] + share[1] * v[0, 0, 1])


def test_scaling_keeps_the_scores_at_unit_variance() -> None:
    q, k = torch.randn(1, 1, 500, 256), torch.randn(1, 1, 500, 256)
    _, weights = attention(q, k, k)
    assert 0.9 < (weights.log() - weights.log().mean(-1, keepdim=True)).std() < 1.1


def test_causal_mask_is_lower_triangular() -> None:
    assert causal_mask(3, 3).tolist() == [[True, False, False], [True, True, False], [True, True, True]]


def _oracle(ours: SelfAttention | CrossAttention) -> nn.MultiheadAttention:
    theirs = nn.MultiheadAttention(ours.output.in_features, ours.num_heads, batch_first=True)
    projections = [ours.query_key_value] if isinstance(ours, SelfAttention) else [ours.query, ours.key_value]
    with torch.no_grad():
        for p in ours.parameters():
            p.add_(torch.randn_like(p) * 0.1)
        theirs.in_proj_weight.copy_(torch.cat([p.weight for p in projections]))
        theirs.in_proj_bias.copy_(torch.cat([p.bias for p in projections]))
    theirs.out_proj.load_state_dict(ours.output.state_dict())
    return theirs


@pytest.mark.parametrize("heads", [1, 4])
def test_self_attention_equals_torch(heads: int) -> None:
    ours, x = SelfAttention(32, heads), torch.randn(3, 7, 32)
    expected, _ = _oracle(ours)(x, x, x, attn_mask=~causal_mask(7, 7), need_weights=False)
    torch.testing.assert_close(ours(x, causal=True), expected, atol=1e-6, rtol=1e-5)


def test_cross_attention_equals_torch() -> None:
    ours, x, memory = CrossAttention(32, 4), torch.randn(2, 3, 32), torch.randn(2, 5, 32)
    tokens = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    expected, _ = _oracle(ours)(x, memory, memory, key_padding_mask=tokens == 0)
    torch.testing.assert_close(ours(x, memory, padding_mask(tokens, 0)), expected, atol=1e-6, rtol=1e-5)

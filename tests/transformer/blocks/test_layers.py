"""Layers against torch.nn.Transformer's, with copied weights."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from stepladder.transformer.blocks.attention import causal_mask, padding_mask
from stepladder.transformer.blocks.layers import DecoderLayer, EncoderLayer, FeedForward, LayerOptions, stack
from tests.transformer import tiny

TOKENS = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])


def _randomise(module: nn.Module) -> None:
    with torch.no_grad():
        for p in module.parameters():
            p.add_(torch.randn_like(p) * 0.1)


def _copy(theirs: nn.MultiheadAttention, weight: torch.Tensor, bias: torch.Tensor, output: nn.Linear) -> None:
    with torch.no_grad():
        theirs.in_proj_weight.copy_(weight)
        theirs.in_proj_bias.copy_(bias)
    theirs.out_proj.load_state_dict(output.state_dict())


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_encoder_layer_equals_torch(norm: str) -> None:
    torch.manual_seed(0)
    ours = EncoderLayer(LayerOptions(16, 32, 4, 0.0, norm))
    _randomise(ours)
    theirs = nn.TransformerEncoderLayer(16, 4, 32, 0.0, batch_first=True, norm_first=norm == "pre")
    qkv = ours.self_attention.query_key_value
    _copy(theirs.self_attn, qkv.weight, qkv.bias, ours.self_attention.output)
    theirs.linear1.load_state_dict(ours.feed_forward.inner.state_dict())
    theirs.linear2.load_state_dict(ours.feed_forward.outer.state_dict())
    theirs.norm1.load_state_dict(ours.attention_norm.state_dict())
    theirs.norm2.load_state_dict(ours.feed_forward_norm.state_dict())
    x = torch.randn(2, 5, 16)
    expected = theirs(x, src_key_padding_mask=TOKENS == 0)
    torch.testing.assert_close(ours(x, padding_mask(TOKENS, 0)), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_decoder_layer_equals_torch(norm: str) -> None:
    torch.manual_seed(0)
    ours = DecoderLayer(LayerOptions(16, 32, 4, 0.0, norm))
    _randomise(ours)
    theirs = nn.TransformerDecoderLayer(16, 4, 32, 0.0, batch_first=True, norm_first=norm == "pre")
    qkv, cross = ours.self_attention.query_key_value, ours.cross_attention
    _copy(theirs.self_attn, qkv.weight, qkv.bias, ours.self_attention.output)
    _copy(
        theirs.multihead_attn,
        torch.cat([cross.query.weight, cross.key_value.weight]),
        torch.cat([cross.query.bias, cross.key_value.bias]),
        cross.output,
    )
    theirs.linear1.load_state_dict(ours.feed_forward.inner.state_dict())
    theirs.linear2.load_state_dict(ours.feed_forward.outer.state_dict())
    for theirs_norm, ours_norm in (
        (theirs.norm1, ours.self_norm), (theirs.norm2, ours.cross_norm), (theirs.norm3, ours.feed_forward_norm),
    ):  # fmt: skip
        theirs_norm.load_state_dict(ours_norm.state_dict())
    x, memory = torch.randn(2, 4, 16), torch.randn(2, 5, 16)
    expected = theirs(x, memory, tgt_mask=~causal_mask(4, 4), memory_key_padding_mask=TOKENS == 0)
    torch.testing.assert_close(ours(x, memory, padding_mask(TOKENS, 0)), expected, atol=1e-5, rtol=1e-5)


def test_swiglu_is_shazeers_equation() -> None:
    feed_forward, x = FeedForward(8, 12, "swiglu"), torch.randn(3, 8)
    (w, v), (b, c) = feed_forward.inner.weight.split(12), feed_forward.inner.bias.split(12)
    expected = feed_forward.outer(nn.functional.silu(x @ w.T + b) * (x @ v.T + c))
    torch.testing.assert_close(feed_forward(x), expected)


def test_root_mean_square_norm_is_the_equation() -> None:
    norm, x = LayerOptions(8, 8, 1, 0.0, norm_type="rms", norm_eps=0.0).normalisation(), torch.randn(3, 8)
    _randomise(norm)
    torch.testing.assert_close(norm(x), x / x.pow(2).mean(-1, keepdim=True).sqrt() * norm.weight)


def test_stochastic_depth_grows_with_depth_and_skips_a_sublayer() -> None:
    layers = stack(EncoderLayer, 4, LayerOptions(8, 8, 2, 0.0, drop_path=0.4))
    assert [layer.dropout[1].p for layer in layers] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    always = EncoderLayer(LayerOptions(8, 8, 2, 0.0, drop_path=0.999)).train()
    x = torch.randn(4, 3, 8)
    assert torch.equal(always(x, None), x)


@pytest.mark.parametrize("model", [tiny.model, tiny.causal_lm, tiny.masked_lm, tiny.classifier])
def test_checkpointing_gives_the_same_gradients(model: Callable[..., nn.Module]) -> None:
    found = []
    for checkpointing in (False, True):
        network = model(activation_checkpointing=checkpointing, drop_path=0.3).train()
        tokens = tiny.sentences([5, 3])
        torch.manual_seed(1)
        network(*[tokens] * (2 if model is tiny.model else 1)).pow(2).sum().backward()
        found.append([p.grad for p in network.parameters()])
    for plain, again in zip(*found, strict=True):
        torch.testing.assert_close(plain, again)

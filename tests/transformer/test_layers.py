"""Layers against torch.nn.Transformer's, with copied weights."""

import pytest
import torch
from torch import nn

from stepladder.transformer.attention import causal_mask, padding_mask
from stepladder.transformer.layers import DecoderLayer, EncoderLayer, LayerOptions

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

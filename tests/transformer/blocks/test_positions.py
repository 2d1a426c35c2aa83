import math

import pytest
import torch
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb, create_sinusoidal_positions

from stepladder.transformer.blocks.attention import causal_mask
from stepladder.transformer.blocks.positions import AbsolutePositions, Alibi, Rotary, sinusoidal


@pytest.mark.parametrize(("pos", "i"), [(0, 0), (1, 0), (7, 3), (100, 15)])
def test_is_the_published_formula(pos: int, i: int) -> None:
    encoding = sinusoidal(128, 32)
    angle = pos / 10000 ** (2 * i / 32)
    assert encoding[pos, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
    assert encoding[pos, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_dot_products_depend_on_the_distance_only() -> None:
    p = sinusoidal(60, 64)
    gram = p @ p.T
    for distance in (1, 5, 20):
        diagonal = gram.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-4, rtol=1e-4)


def test_longer_tables_begin_alike() -> None:
    assert torch.equal(sinusoidal(50, 16)[:20], sinusoidal(20, 16))


@pytest.mark.parametrize("heads", [1, 2, 6, 8, 12])
def test_alibi_is_blooms(heads: int) -> None:
    """Theirs is relative to position 0, which a softmax over the keys does not see."""
    theirs = build_alibi_tensor(torch.ones(1, 7), heads, torch.float32).view(heads, 1, 7)
    ours = Alibi(heads)(7, 7)
    seen = causal_mask(7, 7)
    close = torch.testing.assert_close
    close((ours.masked_fill(~seen, -torch.inf)).softmax(-1), (theirs.masked_fill(~seen, -torch.inf)).softmax(-1))


def test_alibi_of_the_last_queries_is_the_end_of_all() -> None:
    alibi = Alibi(4)
    assert torch.equal(alibi(2, 9), alibi(9, 9)[:, -2:])
    assert torch.equal(alibi(9, 9), alibi(9, 9).transpose(1, 2))
    assert alibi(3, 3)[0].tolist() == [[0, -0.25, -0.5], [-0.25, 0, -0.25], [-0.5, -0.25, 0]]


def test_rotary_is_gpt_js() -> None:
    x = torch.randn(2, 3, 9, 16)
    sin, cos = create_sinusoidal_positions(9, 16)[None].chunk(2, dim=-1)
    expected = apply_rotary_pos_emb(x.transpose(1, 2), sin, cos).transpose(1, 2)
    rotary = Rotary(16, length=4)
    torch.testing.assert_close(rotary(x), expected)
    torch.testing.assert_close(rotary(x[:, :, 5:], start=5), expected[:, :, 5:])


def test_rotary_scores_depend_on_the_distance_only() -> None:
    query, key, rotary = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8), Rotary(8)
    scores = [(rotary(query, t) * rotary(key, t + 3)).sum().item() for t in (0, 5, 100)]
    assert scores == pytest.approx([scores[0]] * 3, abs=1e-4)
    assert rotary(query, 7).norm().item() == pytest.approx(query.norm().item(), rel=1e-5)


def test_tables_that_grew_while_translating_still_train() -> None:
    rotary, x = Rotary(4, length=2), torch.randn(1, 1, 9, 4, requires_grad=True)
    with torch.inference_mode():
        rotary(x)
    rotary(x).sum().backward()
    assert x.grad is not None


def test_learned_positions_are_added_from_where_the_text_stands() -> None:
    positions, x = AbsolutePositions("learned", 9, 4), torch.zeros(1, 3, 4)
    assert torch.equal(positions(x, 5)[0], positions.table[5:8])
    assert positions.table.requires_grad
    assert AbsolutePositions("none", 9, 4)(x) is x

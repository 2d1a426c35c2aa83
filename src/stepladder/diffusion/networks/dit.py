"""The diffusion Transformer: Peebles and Xie (2023), with adaLN-zero blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from stepladder.diffusion.networks.conditioning import Conditioning, concat_low_resolution
from stepladder.diffusion.networks.conditions import Condition
from stepladder.diffusion.networks.convolutions import zeroed
from stepladder.errors import UserError

TIME_WIDTH = 256


class Block(nn.Module):
    """Attention and feed-forward, each scaled, shifted and gated by the embedding; the gates start from zero.

    With ``context`` there is attention to a text between the two, whose output projection starts from zero.
    """

    def __init__(self, d_model: int, heads: int, d_ff: int, dropout: float, context: int) -> None:
        super().__init__()
        self.heads, self.dropout = heads, nn.Dropout(dropout)
        self.modulation = zeroed(nn.Linear(d_model, 6 * d_model))
        self.norm_attention, self.norm_feed = _norm(d_model), _norm(d_model)
        self.qkv, self.out = nn.Linear(d_model, 3 * d_model), nn.Linear(d_model, d_model)
        self.feed = nn.Sequential(nn.Linear(d_model, d_ff), nn.GELU("tanh"), nn.Linear(d_ff, d_model))
        if context:
            self.norm_text, self.q_text = nn.LayerNorm(d_model), nn.Linear(d_model, d_model)
            self.kv_text, self.out_text = nn.Linear(context, 2 * d_model), zeroed(nn.Linear(d_model, d_model))

    def forward(self, x: Tensor, embedded: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        """x: ``(N, P, d_model)``; embedded: ``(N, d_model)``; context: ``(N, L, d)``; mask: ``(N, L)``. Like ``x``."""
        modulation = self.modulation(F.silu(embedded))[:, None]
        shift, scale, gate, shift_feed, scale_feed, gate_feed = modulation.chunk(6, dim=2)
        q, k, v = self._split(self.qkv(torch.addcmul(shift, self.norm_attention(x), 1 + scale)), 3)
        x = x + gate * self.dropout(self.out(_merged(F.scaled_dot_product_attention(q, k, v))))
        if mask is not None:
            (q,) = self._split(self.q_text(self.norm_text(x)), 1)
            k, v = self._split(self.kv_text(context), 2)
            x = x + self.out_text(_merged(F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])))
        result: Tensor = x + gate_feed * self.dropout(
            self.feed(torch.addcmul(shift_feed, self.norm_feed(x), 1 + scale_feed))
        )
        return result

    def _split(self, x: Tensor, parts: int) -> Sequence[Tensor]:
        n, length, width = x.shape
        return x.view(n, length, parts, self.heads, width // parts // self.heads).permute(2, 0, 3, 1, 4).unbind(0)


class DiT(Conditioning):
    """Predicts the target of the process from noisy pictures cut into patches.

    It runs on smaller sides than ``shape`` as well: positions are those of the full side, further apart.

    Args:
        shape: (C, H, W) of a picture.
        patch: side of a patch in pixels.
        d_model: width. depth: blocks. heads: attention heads. mlp_ratio: width of the feed-forward layers, in widths.
        dropout: after attention and feed-forward.
        classes: number of classes; label ``classes`` itself stands for none. 0: unconditional.
        outputs: channels of the output; None: C.
        activation_checkpointing: forget what blocks compute, and compute it again for the gradients.
        vocabulary, text_length, text_encoder, low_resolution: see ``Conditioning``.

    Raises:
        UserError: the sides are no multiples of the patch, or the width none of the heads or of 4.
    """

    def __init__(
        self,
        shape: Sequence[int],
        patch: int,
        d_model: int,
        depth: int,
        heads: int,
        mlp_ratio: float,
        dropout: float,
        classes: int,
        *,
        outputs: int | None = None,
        activation_checkpointing: bool = False,
        vocabulary: int = 0,
        text_length: int = 0,
        text_encoder: Mapping[str, Any] | None = None,
        low_resolution: int = 0,
    ) -> None:
        picture_channels, height, width = shape
        if height % patch or width % patch:
            raise UserError(
                f"Pictures of {height}x{width} cannot be cut into patches of {patch}x{patch}; change images.size or "
                "diffusion.dit.patch."
            )
        if d_model % heads or d_model % 4:
            raise UserError(f"diffusion.dit.d_model={d_model} must be a multiple of 4 and of its heads={heads}.")
        super().__init__(TIME_WIDTH, d_model, classes, vocabulary, text_length, text_encoder, low_resolution)
        self.patch, self.height, self.checkpointing = patch, height, activation_checkpointing
        self.out_channels = outputs or picture_channels
        in_channels = picture_channels * (2 if low_resolution else 1)
        self.stem = nn.Conv2d(in_channels, d_model, patch, stride=patch)
        self.blocks = nn.ModuleList(
            Block(d_model, heads, int(d_model * mlp_ratio), dropout, self.context) for _ in range(depth)
        )
        self.head_norm, self.head_modulation = _norm(d_model), zeroed(nn.Linear(d_model, 2 * d_model))
        self.head = zeroed(nn.Linear(d_model, patch * patch * self.out_channels))
        nn.init.xavier_uniform_(self.stem.weight.view(d_model, -1))

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        """x: ``(N, C, H, W)``; time: ``(N,)``; see ``conditions``. Gives ``(N, outputs, H, W)``."""
        embedded, context, mask = self.embed(time, condition, x.dtype)
        if self.noise is not None:
            x = concat_low_resolution(x, condition)
        patches = self.stem(x)
        n, width, rows, columns = patches.shape
        spread = self.height / (rows * self.patch)
        h = patches.flatten(2).transpose(1, 2) + positions(rows, columns, width, spread, x.device).to(patches.dtype)
        for block in self.blocks:
            if self.checkpointing and torch.is_grad_enabled():
                h = checkpoint(block, h, embedded, context, mask, use_reentrant=False)
            else:
                h = block(h, embedded, context, mask)
        shift, scale = self.head_modulation(F.silu(embedded))[:, None].chunk(2, dim=2)
        h = self.head(torch.addcmul(shift, self.head_norm(h), 1 + scale))
        out, patch = self.out_channels, self.patch
        h = h.view(n, rows, columns, out, patch, patch).permute(0, 3, 1, 4, 2, 5)
        result: Tensor = h.reshape(n, out, rows * patch, columns * patch)
        return result


def positions(rows: int, columns: int, width: int, spread: float, device: torch.device) -> Tensor:
    """Sine and cosine of each patch's row and column, ``(rows x columns, width)``, ``spread`` patches apart."""
    frequency = 10_000.0 ** (-torch.arange(width // 4, device=device) / (width // 4))
    down = spread * torch.arange(rows, device=device)[:, None] * frequency
    across = spread * torch.arange(columns, device=device)[:, None] * frequency
    down = torch.cat([down.sin(), down.cos()], dim=1)[:, None].expand(rows, columns, -1)
    across = torch.cat([across.sin(), across.cos()], dim=1)[None].expand(rows, columns, -1)
    return torch.cat([down, across], dim=2).reshape(rows * columns, width)


def _norm(d_model: int) -> nn.LayerNorm:
    return nn.LayerNorm(d_model, eps=1e-6, elementwise_affine=False)


def _merged(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)

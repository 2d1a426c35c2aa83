"""Embeds the inputs of a network other than the noisy picture: time, class, text, low resolution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stepladder.diffusion.networks.blocks import embedding, sinusoidal
from stepladder.diffusion.networks.conditions import Condition


class Conditioning(nn.Module):
    """Embeds time, class, text and low resolution and sums the embeddings; a text also gives a context to attend to.

    A network inherits from it, so that its weights keep their names.

    Args:
        width: of the sinusoidal embedding of time; embedding_width: of the sum.
        classes: their number; label ``classes`` itself stands for none. 0: not conditioned on classes.
        vocabulary: of the texts; 0: not conditioned on texts. text_length: in tokens.
        text_encoder: ``d_model``, ``depth``, ``heads``, ``dropout`` of the ``TextEncoder``.
        low_resolution: side of the low-resolution picture; 0: not conditioned on one.
    """

    def __init__(
        self,
        width: int,
        embedding_width: int,
        classes: int,
        vocabulary: int,
        text_length: int,
        text_encoder: Mapping[str, Any] | None,
        low_resolution: int,
    ) -> None:
        super().__init__()
        self.width = width
        self.time = embedding(width, embedding_width)
        self.label = nn.Embedding(classes + 1, embedding_width) if classes else None
        self.text: nn.Module | None = None
        self.context = 0
        if vocabulary:
            from stepladder.diffusion.networks.text_encoder import TextEncoder

            assert text_encoder is not None
            self.context = int(text_encoder["d_model"])
            self.text = TextEncoder(vocabulary, text_length, **text_encoder)
            self.text_mean = nn.Linear(self.context, embedding_width)
        self.noise = embedding(width, embedding_width) if low_resolution else None

    def embed(self, time: Tensor, condition: Condition, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor | None]:
        """The sum ``(N, embedding_width)``, a text's context ``(N, L, d)`` and mask ``(N, L)``, None without texts."""
        embedded = self.time(sinusoidal(time, self.width).to(dtype))
        if self.label is not None:
            embedded = embedded + self.label(condition["labels"])
        if self.noise is not None:
            embedded = embedded + self.noise(sinusoidal(condition["low_resolution_noise"], self.width).to(dtype))
        if self.text is None:
            return embedded, embedded, None
        context, mask = self.text(condition["text"])
        share = mask.to(context.dtype) / mask.sum(1, keepdim=True)
        return embedded + self.text_mean(torch.einsum("nl,nld->nd", share, context)), context, mask


def concat_low_resolution(x: Tensor, condition: Condition) -> Tensor:
    """``x`` ``(N, C, H, W)`` with the low resolution, resized to fit, as further channels: Saharia et al. (2021)."""
    low = F.interpolate(condition["low_resolution"].to(x.dtype), size=x.shape[2:], mode="bilinear")
    return torch.cat([x, low], dim=1)

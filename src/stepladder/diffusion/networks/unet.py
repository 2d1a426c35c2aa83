"""The UNet of Ho et al. (2020), with the choices of Nichol and Dhariwal (2021) and others, from tiny to published size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from stepladder.diffusion.networks.blocks import ResidualBlock, SpatialAttention, TextAttention, halved, norm, twice
from stepladder.diffusion.networks.conditioning import Conditioning, concat_low_resolution
from stepladder.diffusion.networks.conditions import Condition
from stepladder.diffusion.networks.convolutions import DoublingConv2d, zeroed
from stepladder.diffusion.networks.normalisation import normalised
from stepladder.errors import UserError


@dataclass(frozen=True)
class _Layers:
    """Makes the layers of a ``UNet`` with the same options; ``context``: width of the text context, 0 without texts."""

    heads: int
    dropout: float
    context: int
    norm_groups: int
    scale_shift: bool
    conv: str
    resample: str

    def block(self, from_: int, to: int, resample: str = "") -> ResidualBlock:
        return ResidualBlock(
            from_, to, self.dropout, groups=self.norm_groups, scale_shift=self.scale_shift, conv=self.conv,
            resample=resample,
        )  # fmt: skip

    def attention(self, channels: int, wanted: bool) -> list[nn.Module]:
        if not wanted:
            return [nn.Identity()]
        over_text = [TextAttention(channels, self.heads, self.context, self.norm_groups)] if self.context else []
        return [SpatialAttention(channels, self.heads, self.norm_groups), *over_text]

    def resampler(self, channels: int, direction: str) -> nn.Module:
        if self.resample == "residual":
            return self.block(channels, channels, direction)
        if direction == "up":
            return DoublingConv2d(channels, channels)
        return nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def down(
        self, channels: int, widths: Sequence[int], attended: Sequence[bool], blocks: int
    ) -> tuple[nn.ModuleList, list[int]]:
        """The layers of the way down from ``channels``, and the channels of each skip connection."""
        layers, skips, now = nn.ModuleList(), [channels], channels
        for level, width in enumerate(widths):
            for _ in range(blocks):
                layers.append(nn.ModuleList([self.block(now, width), *self.attention(width, attended[level])]))
                now = width
                skips.append(now)
            if level < len(widths) - 1:
                layers.append(self.resampler(now, "down"))
                skips.append(now)
        return layers, skips

    def up(self, skips: Sequence[int], widths: Sequence[int], attended: Sequence[bool], blocks: int) -> nn.ModuleList:
        """The layers of the way up; the input of each block also has the channels of one of ``skips``, last first."""
        layers, left, now = nn.ModuleList(), list(skips), widths[-1]
        for level, width in reversed(list(enumerate(widths))):
            for _ in range(blocks + 1):
                block = self.block(now + left.pop(), width)
                layers.append(nn.ModuleList([block, *self.attention(width, attended[level])]))
                now = width
            if level:
                layers.append(self.resampler(now, "up"))
        return layers


class UNet(Conditioning):
    """Predicts the target of the process from noisy pictures.

    It runs on smaller sides than ``shape`` as well, as long as they can be halved as often.

    Args:
        shape: (C, H, W) of a picture.
        channels: of the first level.
        channel_mult: channels of each level in multiples of the first; each level halves the side.
        blocks: residual blocks a level (one more on the way up).
        attention_resolutions: heights at which there is attention.
        heads: attention heads.
        dropout: in residual blocks.
        classes: number of classes; label ``classes`` itself stands for none. 0: unconditional.
        outputs: channels of the output; None: C.
        middle_attention: attention between the two blocks in the middle.
        norm_groups: groups of the group normalisation, at most.
        scale_shift, conv: see ``ResidualBlock`` and ``convolution``.
        resample: what halves and doubles the side, "conv" or "residual" blocks.
        progressive: "input": halved pictures are added to every level; "output": every level gives a picture, and they are
            summed (Karras et al. 2020; Song et al. 2021b); "both"; "none".
        activation_checkpointing: forget what blocks compute, and compute it again for the gradients.
        vocabulary, text_length, text_encoder, low_resolution: see ``Conditioning``.

    Raises:
        UserError: the sides cannot be halved as often as there are levels, less one.
    """

    def __init__(
        self,
        shape: Sequence[int],
        channels: int,
        channel_mult: Sequence[int],
        blocks: int,
        attention_resolutions: Sequence[int],
        heads: int,
        dropout: float,
        classes: int,
        *,
        outputs: int | None = None,
        middle_attention: bool = True,
        norm_groups: int = 8,
        scale_shift: bool = True,
        resample: str = "conv",
        conv: str = "full",
        progressive: str = "none",
        activation_checkpointing: bool = False,
        vocabulary: int = 0,
        text_length: int = 0,
        text_encoder: Mapping[str, Any] | None = None,
        low_resolution: int = 0,
    ) -> None:
        picture_channels, height, width = shape
        halvings = len(channel_mult) - 1
        if height % 2**halvings or width % 2**halvings:
            raise UserError(
                f"Pictures of {height}x{width} cannot be halved {halvings} times; set images.size to a multiple of "
                f"{2**halvings}, or shorten diffusion.unet.channel_mult={list(channel_mult)}."
            )
        embedding_width = 4 * channels
        super().__init__(channels, embedding_width, classes, vocabulary, text_length, text_encoder, low_resolution)
        self.checkpointing = activation_checkpointing
        in_channels, out = picture_channels * (2 if low_resolution else 1), outputs or picture_channels
        self.stem = nn.Conv2d(in_channels, channels, 3, padding=1)
        make = _Layers(heads, dropout, self.context, norm_groups, scale_shift, conv, resample)
        widths = [mult * channels for mult in channel_mult]
        attended = [height >> level in attention_resolutions for level in range(len(widths))]
        self.down, skips = make.down(channels, widths, attended, blocks)
        now = widths[-1]
        self.middle = nn.ModuleList(
            [make.block(now, now), *make.attention(now, middle_attention), make.block(now, now)]
        )
        self.up = make.up(skips, widths, attended, blocks)
        self.head_norm, self.head = norm(widths[0], norm_groups), zeroed(nn.Conv2d(widths[0], out, 3, padding=1))
        self.inputs = self.outputs = None
        if progressive in ("input", "both"):
            self.inputs = nn.ModuleList(nn.Conv2d(in_channels, width, 1) for width in widths[:-1])
        if progressive in ("output", "both"):
            self.outputs = nn.ModuleList(
                nn.Sequential(norm(width, norm_groups), nn.SiLU(), zeroed(nn.Conv2d(width, out, 3, padding=1)))
                for width in reversed(widths[1:])
            )
        self.widths = [m.modulation for m in self.modules() if isinstance(m, ResidualBlock)]
        self.modulation = nn.Linear(embedding_width, sum(self.widths))  # of all blocks in one product
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        """x: ``(N, C, H, W)``; time: ``(N,)``; see ``conditions``. Gives ``(N, outputs, H, W)``."""
        embedded, context, mask = self.embed(time, condition, x.dtype)
        modulation = iter(self.modulation(F.silu(embedded)).split(self.widths, dim=1))
        if self.noise is not None:
            x = concat_low_resolution(x, condition)
        picture = x.contiguous(memory_format=torch.channels_last)

        def stage(layers: nn.ModuleList, x: Tensor) -> Tensor:
            modulations = [next(modulation) for layer in layers if isinstance(layer, ResidualBlock)]
            if self.checkpointing and torch.is_grad_enabled():
                result: Tensor = checkpoint(_stage, layers, x, modulations, context, mask, use_reentrant=False)
                return result
            return _stage(layers, x, modulations, context, mask)

        x = self.stem(picture)
        skips, level = [x], 0
        for layer in self.down:
            if isinstance(layer, nn.ModuleList):
                x = stage(layer, x)
            else:
                x = layer(x, next(modulation)) if isinstance(layer, ResidualBlock) else layer(x)
                if self.inputs is not None:
                    picture = halved(picture)
                    x = x + self.inputs[level](picture)
                level += 1
            skips.append(x)
        x = stage(self.middle, x)
        summed, level = None, 0
        for layer in self.up:
            if isinstance(layer, nn.ModuleList):
                x = stage(layer, torch.cat([x, skips.pop()], dim=1))
                continue
            if self.outputs is not None:
                level_output = self.outputs[level](x)
                summed = twice(level_output if summed is None else summed + level_output)
            level += 1
            x = layer(x, next(modulation)) if isinstance(layer, ResidualBlock) else layer(x)
        output: Tensor = self.head(normalised(x, self.head_norm))
        return output if summed is None else output + summed


def _stage(
    layers: nn.ModuleList, x: Tensor, modulations: Sequence[Tensor], context: Tensor, mask: Tensor | None
) -> Tensor:
    remaining = iter(modulations)
    for layer in layers:
        if isinstance(layer, ResidualBlock):
            x = layer(x, next(remaining))
        elif isinstance(layer, TextAttention):
            assert mask is not None
            x = layer(x, context, mask)
        else:
            x = layer(x)
    return x

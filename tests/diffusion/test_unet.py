from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from stepladder.diffusion.blocks import SpatialAttention, sinusoidal
from stepladder.diffusion.conditions import Condition, rows
from stepladder.diffusion.unet import UNet
from stepladder.errors import UserError


def unet(**changes: Any) -> UNet:
    arguments: dict[str, Any] = {
        "shape": (1, 8, 8), "channels": 8, "channel_mult": (1, 2), "blocks": 1, "attention_resolutions": (4,),
        "heads": 2, "dropout": 0.0, "classes": 3,
    }  # fmt: skip
    return UNet(**(arguments | changes))


def awake(model: UNet) -> UNet:
    """With the layers that start from zero set to something, as after some training."""
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return model


def inputs(shape: tuple[int, int, int], n: int = 3) -> tuple[torch.Tensor, torch.Tensor, Condition]:
    return torch.randn(n, *shape), torch.rand(n), {"labels": torch.arange(n) % 3}


@pytest.mark.parametrize(
    ("shape", "channel_mult"),
    [
        ((1, 8, 8), (1, 2)), ((3, 8, 8), (1,)), ((1, 8, 16), (1, 2)), ((4, 12, 20), (1, 2, 3)), ((2, 28, 28), (1, 2, 2)),
        ((3, 32, 32), (1, 2, 2, 2)), ((1, 9, 15), (1,)), ((7, 10, 8), (2, 1)),
    ],
)  # fmt: skip
def test_any_shape_that_can_be_halved(shape, channel_mult):
    model = awake(unet(shape=shape, channel_mult=channel_mult, attention_resolutions=(8,)))
    output = model(*inputs(shape))
    assert output.shape == (3, *shape)
    assert output.isfinite().all()
    assert output.std() > 0


@pytest.mark.parametrize("shape", [(1, 9, 8), (1, 8, 10), (1, 14, 14)])
def test_sides_that_cannot_be_halved_are_refused(shape):
    size = f"{shape[1]}x{shape[2]}"
    with pytest.raises(UserError, match=f"{size} cannot be halved 2 times; set images.size to a multiple of 4"):
        unet(shape=shape, channel_mult=(1, 2, 2))


def test_output_is_zero_at_the_start():
    assert not unet()(*inputs((1, 8, 8))).any()


def test_gradient_reaches_every_parameter():
    model = awake(unet(blocks=2))
    model(*inputs((1, 8, 8))).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


@pytest.mark.parametrize(("sides", "count"), [((), 1), ((4,), 4), ((8,), 4), ((8, 4), 7), ((16,), 1)])
def test_attention_is_at_the_sides_asked_for_and_in_the_middle(sides, count):
    model = unet(attention_resolutions=sides)
    assert sum(isinstance(module, SpatialAttention) for module in model.modules()) == count


def test_attention_is_that_of_torch():
    layer = SpatialAttention(8, 2)
    nn.init.normal_(layer.out.weight)
    oracle = nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        oracle.in_proj_weight.copy_(layer.qkv.weight[:, :, 0, 0])
        oracle.in_proj_bias.copy_(layer.qkv.bias)
        oracle.out_proj.weight.copy_(layer.out.weight[:, :, 0, 0])
        oracle.out_proj.bias.copy_(layer.out.bias)
    x = torch.randn(3, 8, 4, 6)
    tokens = layer.norm(x).flatten(2).transpose(1, 2)
    expected = x + oracle(tokens, tokens, tokens)[0].transpose(1, 2).view_as(x)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("channels", [8, 10, 11, 12, 32])
def test_any_width(channels):
    awake(unet(channels=channels, heads=1))(*inputs((1, 8, 8)))


def test_pictures_of_a_batch_do_not_see_each_other():
    model = awake(unet()).eval()
    x, time, condition = inputs((1, 8, 8))
    torch.testing.assert_close(
        model(x, time, condition)[1:2], model(x[1:2], time[1:2], rows(condition, 1, 2)), rtol=1e-4, atol=1e-5
    )


def test_without_classes_labels_are_ignored():
    model = awake(unet(classes=0))
    x, time, condition = inputs((1, 8, 8))
    torch.testing.assert_close(model(x, time, condition), model(x, time, {"labels": condition["labels"] + 100}))


def test_time_and_label_matter_after_a_few_steps():
    model = unet()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(20):
        x, time, _ = inputs((1, 8, 8), 16)
        labels = torch.randint(3, (16,))
        wanted = (labels - 1.0 + time)[:, None, None, None].expand_as(x)
        optimizer.zero_grad()
        F.mse_loss(model(x, time, {"labels": labels}), wanted).backward()
        optimizer.step()
    x, time, condition = inputs((1, 8, 8))
    output = model(x, time, condition)
    assert (model(x, time, {"labels": (condition["labels"] + 1) % 3}) - output).abs().mean() > 0.1
    assert (model(x, 1 - time, condition) - output).abs().mean() > 1e-3


def test_embedding_of_time_is_the_published_one():
    """cos, then sin, of 1000 time over wavelengths from 2 pi up to 10,000 times that."""
    embedding = sinusoidal(torch.tensor([0.0, 0.5]), 6)
    angles = 500 / 10_000 ** (torch.arange(3) / 3)
    torch.testing.assert_close(embedding[0], torch.tensor([1.0, 1, 1, 0, 0, 0]))
    torch.testing.assert_close(embedding[1], torch.cat([angles.cos(), angles.sin()]), rtol=1e-4, atol=1e-4)

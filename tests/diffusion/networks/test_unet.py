from typing import Any

import pytest
import torch
import torch.nn.functional as F
from diffusers import UNet2DModel
from torch import nn

from stepladder.diffusion.networks.blocks import SpatialAttention, sinusoidal
from stepladder.diffusion.networks.conditions import Condition, select_rows
from stepladder.diffusion.networks.unet import UNet
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
        model(x, time, condition)[1:2], model(x[1:2], time[1:2], select_rows(condition, 1, 2)), rtol=1e-4, atol=1e-5
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


TEXT = {"vocabulary": 20, "text_length": 5, "text_encoder": {"d_model": 16, "depth": 1, "heads": 2, "dropout": 0.0}}
OPTIONS: list[dict] = [
    {"scale_shift": False}, {"resample": "residual"}, {"conv": "depthwise_separable"}, {"conv": "fft"},
    {"progressive": "input"}, {"progressive": "output"}, {"progressive": "both", "resample": "residual"},
    {"middle_attention": False}, {"norm_groups": 2}, {"outputs": 2}, TEXT, {"low_resolution": 4},
    {"conv": "fft", "resample": "residual", "progressive": "both", "scale_shift": False, **TEXT, "low_resolution": 2},
]  # fmt: skip


def everything(n: int = 3) -> tuple[torch.Tensor, torch.Tensor, Condition]:
    x, time, condition = inputs((1, 8, 8), n)
    told = {"text": torch.randint(0, 20, (n, 5)), "low_resolution": torch.randn(n, 1, 4, 4)}
    return x, time, condition | told | {"low_resolution_noise": torch.rand(n)}


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_option_starts_from_nothing_learns_and_runs_on_a_smaller_side(options):
    fresh = unet(channel_mult=(1, 2), **options)
    x, time, condition = everything()
    assert fresh(x, time, condition).abs().max() == 0
    model = awake(unet(channel_mult=(1, 2), **options))
    output = model(x, time, condition)
    assert output.shape == (3, options.get("outputs", 1), 8, 8)
    output.square().sum().backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert [name for name in idle if "null" not in name] == []
    assert model(x[..., :4, :4], time, condition).shape[2:] == (4, 4)


@pytest.mark.parametrize("options", [{}, {"conv": "fft", **TEXT, "resample": "residual"}], ids=str)
def test_checkpointing_changes_nothing(options):
    plain = awake(unet(channel_mult=(1, 2), **options))
    saving = unet(channel_mult=(1, 2), activation_checkpointing=True, **options)
    saving.load_state_dict(plain.state_dict())
    given = everything()
    for model in (plain, saving):
        model(*given).square().sum().backward()
    for a, b in zip(plain.parameters(), saving.parameters(), strict=True):
        if a.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-5)


def test_a_low_resolution_and_its_noise_matter():
    model = awake(unet(channel_mult=(1, 2), low_resolution=4)).eval()
    x, time, condition = everything()
    output = model(x, time, condition)
    for key in ("low_resolution", "low_resolution_noise"):
        assert (model(x, time, condition | {key: condition[key] + 0.5}) - output).abs().max() > 1e-4


def test_a_text_is_read_and_padding_is_not():
    model = awake(unet(channel_mult=(1, 2), **TEXT)).eval()
    x, time, condition = everything()
    text = torch.tensor([[1, 2, 3, 0, 0], [4, 5, 0, 0, 0], [0, 0, 0, 0, 0]])
    output = model(x, time, condition | {"text": text})
    other = model(x, time, condition | {"text": text.where(text != 2, 7)})
    assert (other - output)[0].abs().max() > 1e-4
    torch.testing.assert_close(other[1:], output[1:])
    torch.testing.assert_close(model(x, time, condition | {"text": text[:, :3]}), output, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_compiles_into_one_graph():
    model = awake(unet())
    given = inputs((1, 8, 8))
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(*given), model(*given), rtol=1e-4, atol=1e-5)


CIFAR = {
    "shape": [3, 32, 32],
    "channels": 128,
    "channel_mult": [1, 2, 2, 2],
    "dropout": 0.1,
    "classes": 0,
    "norm_groups": 32,
}


def test_published_sizes():
    """DDPM's CIFAR-10 model has 35.7M parameters, exactly those of its port in diffusers; Improved DDPM's 52.5M."""
    with torch.device("meta"):
        ddpm = UNet(**CIFAR, blocks=2, attention_resolutions=[16], heads=1, scale_shift=False)
        improved = UNet(**CIFAR, blocks=3, attention_resolutions=[16, 8], heads=4, outputs=6)
        oracle = UNet2DModel(
            sample_size=32, block_out_channels=(128, 256, 256, 256), layers_per_block=2, norm_num_groups=32,
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        )  # fmt: skip
    counts = [sum(p.numel() for p in model.parameters()) for model in (ddpm, improved, oracle)]
    assert counts[0] == counts[2] == 35_746_307
    assert counts[1] == pytest.approx(52.5e6, rel=0.002)


@pytest.mark.parametrize("scale_shift", [True, False])
def test_one_picture_of_a_level_of_one_pixel_is_as_among_others(scale_shift):
    """PyTorch's group normalisation refuses a single value a group only where the batch has one picture."""
    model = awake(
        unet(shape=(1, 2, 2), norm_groups=8, channel_mult=(1, 1), attention_resolutions=(1,), scale_shift=scale_shift)
    )
    x, time, condition = inputs((1, 2, 2))
    whole, alone = model(x, time, condition), model(x[:1], time[:1], select_rows(condition, 0, 1))
    torch.testing.assert_close(alone, whole[:1])

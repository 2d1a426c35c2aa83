import torch

from stepladder.diffusion.cost import cost, costs, flops
from stepladder.diffusion.networks.description import described
from stepladder.params import Diffusion
from tests.digits import params

DIT = {"backbone": "dit", "shape": [1, 8, 8], "classes": 0, "outputs": 1, "vocabulary": 0, "text_length": 0,
       "low_resolution": 0, "patch": 2, "d_model": 32, "depth": 3, "heads": 2, "mlp_ratio": 4.0, "dropout": 0.0}  # fmt: skip


def test_flops_of_a_dit_by_hand():
    from stepladder.diffusion.networks.backbones import build

    d, tokens, depth = 32, 16, 3
    block = tokens * (3 * d * d + d * d + 8 * d * d) + 6 * d * d + 2 * tokens * tokens * d
    outside = 256 * d + d * d + tokens * 4 * d + 2 * d * d + tokens * 4 * d
    assert flops(build(described(DIT)), described(DIT)) == 2 * (depth * block + outside)


def test_every_variant_has_its_cost():
    section = params().diffusion
    found = costs(section, [1, 8, 8], 10, 8)
    assert [c.name for c in found] == [
        "unet, full convolutions (chosen)", "unet, depthwise separable convolutions", "unet, fft convolutions", "dit",
    ]  # fmt: skip
    full, separable, spectral, _ = found
    assert separable.parameters < full.parameters / 2
    assert separable.flops < full.flops / 2
    assert spectral.flops > separable.flops
    assert all(c.step_seconds > 0 and c.activation_bytes > 0 for c in found)


def test_checkpointing_keeps_less():
    plain, saving = (
        costs(Diffusion(unet={"channels": 16, "activation_checkpointing": on}), [1, 16, 16], 0, 2)[0]
        for on in (False, True)
    )
    assert saving.activation_bytes < plain.activation_bytes / 2
    assert saving.parameters == plain.parameters


def test_a_linear_layer_keeps_its_input():
    from stepladder.diffusion.cost import _activation_bytes

    class Product(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, x, time, condition):
            return x * self.weight

    kept = _activation_bytes(Product(), described(DIT))
    assert kept == 2 * 64 * 4  # x, and its product, of which the square is taken
    assert cost("dit", described(DIT), 2).parameters > 0

import pytest
import torch

from stepladder.diffusion.networks.backbones import build
from stepladder.diffusion.networks.description import Network, described
from stepladder.diffusion.networks.dit import DiT, positions
from stepladder.errors import UserError

TINY = {"backbone": "dit", "shape": [3, 8, 12], "patch": 2, "d_model": 16, "depth": 2, "heads": 2, "mlp_ratio": 2.0,
        "dropout": 0.0, "classes": 3}  # fmt: skip
TEXT = {"vocabulary": 20, "text_length": 5, "text_encoder": {"d_model": 16, "depth": 1, "heads": 2, "dropout": 0.0}}


def awake(**changes) -> DiT:
    """A model whose zero-initialised layers are not zero."""
    model = build(described(TINY | changes))
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    assert isinstance(model, DiT)
    return model


def test_a_fresh_model_says_nothing_and_every_block_is_the_identity():
    model = build(described(TINY))
    x, time, condition = torch.randn(2, 3, 8, 12), torch.rand(2), {"labels": torch.tensor([0, 3])}
    assert model(x, time, condition).abs().max() == 0
    h = torch.randn(2, 24, 16)
    torch.testing.assert_close(model.blocks[0](h, torch.randn(2, 16), h, None), h)


@pytest.mark.parametrize("outputs", [None, 6])
def test_time_label_and_place_matter(outputs):
    model = awake(outputs=outputs)
    x, time, labels = torch.randn(2, 3, 8, 12), torch.rand(2), torch.tensor([0, 1])
    output = model(x, time, {"labels": labels})
    assert output.shape == (2, outputs or 3, 8, 12)
    assert (model(x, time, {"labels": labels + 1}) - output).abs().max() > 1e-4
    assert (model(x, 1 - time, {"labels": labels}) - output).abs().max() > 1e-4
    moved = model(x.roll(2, dims=3), time, {"labels": labels}).roll(-2, dims=3)
    assert (moved - output).abs().max() > 1e-4


def test_patches_come_back_to_their_places():
    """With the blocks the identity and a head that inverts the stem, the picture comes back."""
    model = build(described(TINY | {"d_model": 16, "heads": 1}))
    x = torch.randn(2, 3, 8, 12)
    patches = model.stem(x).flatten(2).transpose(1, 2)
    cut = x.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).reshape(2, 24, 12)
    found = torch.linalg.lstsq(torch.cat([patches, torch.ones(2, 24, 1)], dim=2).flatten(0, 1), cut.flatten(0, 1))
    with torch.no_grad():
        model.head.weight.copy_(found.solution[:-1].T)
        model.head.bias.copy_(found.solution[-1])
        h = model.head(patches).view(2, 4, 6, 3, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(2, 3, 8, 12)
    torch.testing.assert_close(h, x, rtol=1e-3, atol=1e-3)


def test_published_size():
    """DiT-S/2 at 32x32x4 latents has 33M parameters: Peebles and Xie (2023), table 1."""
    with torch.device("meta"):
        model = build(
            described({"backbone": "dit", "shape": [4, 32, 32], "patch": 2, "d_model": 384, "depth": 12, "heads": 6, "mlp_ratio": 4.0,
             "dropout": 0.0, "classes": 1000, "outputs": 8})
        )  # fmt: skip
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(33e6, rel=0.01)


def test_positions_are_different_and_those_of_a_smaller_side_stand_further_apart():
    full = positions(8, 8, 32, 1.0, torch.device("cpu"))
    assert torch.cdist(full, full).fill_diagonal_(1).min() > 0.05
    torch.testing.assert_close(
        positions(4, 4, 32, 2.0, torch.device("cpu")), full.view(8, 8, 32)[::2, ::2].reshape(16, 32)
    )
    assert awake()(torch.randn(2, 3, 4, 6), torch.rand(2), {"labels": torch.zeros(2).long()}).shape == (2, 3, 4, 6)


def test_a_text_is_read_and_padding_is_not():
    model = awake(**TEXT).eval()
    x, time = torch.randn(3, 3, 8, 12), torch.rand(3)
    labels = torch.zeros(3, dtype=torch.long)
    text = torch.tensor([[1, 2, 3, 0, 0], [4, 5, 0, 0, 0], [0, 0, 0, 0, 0]])
    output = model(x, time, {"labels": labels, "text": text})
    other = model(x, time, {"labels": labels, "text": text.where(text != 2, 7)})
    assert (other - output)[0].abs().max() > 1e-4
    torch.testing.assert_close(other[1:], output[1:])
    short = model(x, time, {"labels": labels, "text": text[:, :3]})
    torch.testing.assert_close(short, output, rtol=1e-4, atol=1e-5)


def test_checkpointing_changes_nothing():
    inputs = torch.randn(2, 3, 8, 12), torch.rand(2), {"labels": torch.tensor([0, 1])}
    plain, saving = awake(), awake(activation_checkpointing=True)
    saving.load_state_dict(plain.state_dict())
    for model in (plain, saving):
        model(*inputs).square().sum().backward()
    for a, b in zip(plain.parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_refusals():
    with pytest.raises(UserError, match="Pictures of 9x9 cannot be cut into patches of 2x2"):
        build(described(TINY | {"shape": [1, 9, 9]}))
    with pytest.raises(UserError, match="d_model=18 must be a multiple of 4"):
        build(described(TINY | {"d_model": 18}))
    with pytest.raises(UserError, match="no backbone 'mlp'; there are: unet, dit"):
        build(Network(backbone="mlp", shape=(1, 8, 8)))

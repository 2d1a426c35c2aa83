import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from stepladder.diffusion import lora
from stepladder.diffusion.networks.backbones import build
from stepladder.diffusion.networks.description import described
from stepladder.errors import UserError

UNET = {
    "backbone": "unet", "shape": [1, 8, 8], "channels": 16, "channel_mult": [1, 2], "blocks": 1, "attention_resolutions": [4],
    "heads": 2, "dropout": 0.0, "classes": 3,
}  # fmt: skip
DIT = {
    "backbone": "dit", "shape": [1, 8, 8], "patch": 2, "d_model": 32, "depth": 2, "heads": 2, "mlp_ratio": 2.0, "dropout": 0.0,
    "classes": 3,
}  # fmt: skip
TEXT = {"vocabulary": 50, "text_length": 6, "text_encoder": {"d_model": 16, "depth": 1, "heads": 2, "dropout": 0.0}}
NETWORKS = {"unet": UNET, "dit": DIT, "unet with texts": UNET | TEXT, "dit with texts": DIT | TEXT}


def network(name):
    """Weights all different from zero, so that every change shows."""
    model = build(described(NETWORKS[name])).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    return model


def seen(model, name):
    random = torch.Generator().manual_seed(1)
    condition = {"labels": torch.tensor([0, 1, 2, 3])}
    if "texts" in name:
        condition["text"] = torch.randint(1, 50, (4, 6), generator=random)
    x = torch.randn(4, 1, 8, 8, generator=random)
    return model(x, torch.rand(4, generator=random), condition)


def disturb(model):
    """What training does to the changes."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.1)


@pytest.mark.parametrize("layers", ["attention", "all"])
@pytest.mark.parametrize("name", NETWORKS)
def test_first_nothing_changes_and_merged_everything_stays(name, layers):
    model = network(name)
    keys, before = list(model.state_dict()), seen(model, name)
    lora.inject(model, 2, layers)
    lora.add_rows(model.label, 1, 2)
    torch.testing.assert_close(seen(model, name), before)
    disturb(model)
    changed = seen(model, name)
    assert (changed - before).abs().max() > 0.01
    changes = {key: value.clone() for key, value in lora.adapters(model).items()}
    merged = lora.merge(copy.deepcopy(model))
    torch.testing.assert_close(seen(merged, name), changed, atol=1e-5, rtol=1e-5)
    assert sorted(merged.state_dict()) == sorted(keys), "an ordinary network again"
    assert all(p.requires_grad for p in merged.parameters())
    applied = lora.apply(network_like(name, keys, model), changes, first=1)
    torch.testing.assert_close(seen(applied, name), changed, atol=1e-5, rtol=1e-5)


def network_like(name, keys, injected):
    """The network that ``injected`` was before: its original weights."""
    plain = build(described(NETWORKS[name])).eval()
    state = injected.state_dict()
    plain.load_state_dict({k: state.get(k, state.get(_original(k))) for k in keys})
    return plain


def _original(key):
    layer, _, leaf = key.rpartition(".")
    return f"{layer}.parametrizations.{leaf}.original"


@pytest.mark.parametrize("name", NETWORKS)
def test_only_the_changes_are_trained_and_they_have_the_rank(name):
    model = network(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    sizes = {key: layer.weight.flatten(1).shape for key, layer in lora.targets(model, "attention")}
    assert lora.inject(model, 3) == list(sizes)
    trained = [p for p in model.parameters() if p.requires_grad]
    assert sum(p.numel() for p in trained) == sum(3 * (outputs + inputs) for outputs, inputs in sizes.values())
    optimizer = torch.optim.Adam(trained, lr=0.1)
    for _ in range(3):  # up has a gradient from the first step on, down from the second
        optimizer.zero_grad()
        seen(model, name).square().sum().backward()
        optimizer.step()
    disturb(model)
    merged = lora.merge(model).state_dict()
    for key, value in before.items():
        if key.removesuffix(".weight") in sizes:
            change = (merged[key] - value).flatten(1).double()
            assert torch.linalg.matrix_rank(change, rtol=1e-4) == 3, key
        else:
            assert torch.equal(merged[key], value), key


def test_attention_of_a_unet_by_name():
    names = [name for name, _ in lora.targets(network("unet with texts"), "attention")]
    assert [name.split(".")[0] for name in names].count("middle") == 5
    assert not [name for name in names if name.startswith("text")], "the text encoder stays as it is"
    everything = [name for name, _ in lora.targets(network("unet"), "all")]
    assert {"time.0", "modulation", "down.0.0.conv_in"} <= set(everything)
    assert not {"stem", "head"} & set(everything)


def test_a_convolution_of_low_rank_is_two_convolutions():
    """Hu et al. (2022), equation 3, of a 3x3 convolution: down to the rank, then 1x1 up."""
    conv = nn.Conv2d(4, 6, 3, padding=1).double()
    change = lora.LowRank(conv.weight, 2)
    nn.init.normal_(change.up)
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64)
    down = nn.functional.conv2d(x, change.down.view(2, 4, 3, 3), padding=1)
    expected = conv(x) + nn.functional.conv2d(down, change.up.view(6, 2, 1, 1))
    parametrize.register_parametrization(conv, "weight", change)
    torch.testing.assert_close(conv(x), expected)


def test_only_the_new_rows_of_an_embedding_are_trained():
    table = nn.Embedding(5, 3)
    before = table.weight.detach().clone()
    lora.add_rows(table, first=2, count=2)
    optimizer = torch.optim.SGD([p for p in table.parameters() if p.requires_grad], lr=1.0)
    table(torch.arange(5)).sum().backward()
    optimizer.step()
    moved = (table.weight - before).abs().sum(1) > 0
    assert moved.tolist() == [False, False, True, True, False]


def test_what_cannot_be_is_refused():
    with pytest.raises(UserError, match="rank=33 is more than the layer"):
        lora.inject(network("unet"), 33)
    bare = build(described(UNET | {"attention_resolutions": [], "middle_attention": False}))
    with pytest.raises(UserError, match="no attention"):
        lora.inject(bare, 2)

import itertools
import math

import pytest
import torch

from stepladder.baselines import gan, vae
from stepladder.data.image_arrays import ImageArrays
from stepladder.errors import UserError
from tests.digits import log_nothing, params, prepared, without_classes

SMALL = {"latent": 6, "channels": 8, "channel_mult": [1, 2]}
FAMILIES = {"vae": vae, "gan": gan}


def made(family, rank=0, world_size=1, data=None, **section):
    training = {"batch_size": 32, "warmup_steps": 0} | section.pop("training", {})
    spec = params(**{family: SMALL | {"training": training} | section})
    torch.manual_seed(0)
    experiment = FAMILIES[family].experiment(spec, data or prepared(), rank=rank, world_size=world_size)
    experiment.task.logged = log_nothing(experiment)
    return experiment


def stepped(experiment, steps, start=0, optimizer=None):
    """After ``steps`` of the task's own optimiser, by a plain loop; returns the optimiser."""
    task = experiment.task.train()
    optimizer = optimizer or task.configure_optimizers()["optimizer"]
    for k in range(start, start + steps):
        optimizer.zero_grad()
        task.training_step(experiment.draw(k), k).backward()
        optimizer.step()
    return optimizer


def weights(network):
    return [p.detach().clone() for p in network.parameters()]


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("family", ["vae", "gan"])
@pytest.mark.parametrize("world_size", [2, 4])
def test_the_number_of_ranks_does_not_change_the_loss(family, world_size):
    options = {"loss": "wgan_gp"} if family == "gan" else {}
    whole = made(family, **options)
    ranks = [made(family, rank, world_size, **options) for rank in range(world_size)]
    for position in (0, 1, 7, 100):
        parts = [rank.task.training_step(rank.draw(position), 0) for rank in ranks]
        assert all(len(rank.draw(position)["labels"]) == 32 // world_size for rank in ranks)
        expected = whole.task.training_step(whole.draw(position), 0)
        torch.testing.assert_close(torch.stack(parts).mean(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ["vae", "gan"])
def test_the_number_of_ranks_does_not_change_the_validation(family):
    whole, ranks = made(family), [made(family, 0, 2), made(family, 1, 2)]
    sums = []
    for e in (whole, *ranks):
        sizes = [len(batch["labels"]) for batch in e.validation]
        for i, batch in enumerate(e.validation):
            e.task.validation_step(batch, i)
        sums.append({n: sum(map(math.prod, zip(sizes, v, strict=True))) for n, v in e.task.logged.items()})
    held_out = len(ImageArrays.open(prepared(), "test").labels)
    assert sum(len(batch["labels"]) for batch in whole.validation) == held_out
    assert len(sums[0]) == {"vae": 4, "gan": 2}[family]
    for name, expected in sums[0].items():
        assert sums[1][name] + sums[2][name] == pytest.approx(expected, rel=1e-4)


def test_the_autoencoder_s_bound_tightens_and_says_its_parts():
    experiment = made("vae", training={"learning_rate": 5e-3})
    experiment.task.validation_step(experiment.validation[0], 0)
    stepped(experiment, 40)
    experiment.task.validation_step(experiment.validation[0], 0)
    logged = experiment.task.logged
    before, after = logged["validation/bits_per_dim"]
    assert after < before - 0.7
    nats = logged["validation/reconstruction"][1] - logged["validation/divergence"][1]
    assert after == pytest.approx(-nats / 64 / math.log(2), rel=1e-5)


def test_beta_weighs_the_divergence():
    one, four = made("vae"), made("vae", beta=4.0)
    first, second = (e.task.training_step(e.draw(0), 0).item() for e in (one, four))
    assert second - first == pytest.approx(3 * one.task.logged["train/divergence"][0] / 64, rel=1e-4)


@pytest.mark.parametrize("family", ["vae", "gan"])
def test_a_trained_model_draws_what_it_is_asked_for(family):
    """Zeros are dark in the middle and ones are bright there."""
    rates = {"training": {"learning_rate": 2e-3, "beta2": 0.99}}
    adversarial = {"discriminator_learning_rate": 4e-3, "r1": 0.1, "beta1": 0.5} if family == "gan" else {}
    experiment = made(family, **rates, **adversarial)
    stepped(experiment, 160)
    codes = torch.randn(64, 6)
    with torch.no_grad():
        model = experiment.task.model.eval()
        zero, one = (model(codes, torch.full((64,), label)).mean(0)[0, 2:6, 3:5].mean() for label in (0, 1))
    assert one > zero + 0.2


def test_the_networks_take_turns_and_the_other_stays_as_it_is():
    experiment = made("gan", critic_steps=2, training={"weight_decay": 0.1})
    task, optimizer = experiment.task, None
    changed = []
    for k in range(7):
        before = weights(task.model), weights(task.discriminator)
        optimizer = stepped(experiment, 1, k, optimizer)
        changed.append((not same(before[0], weights(task.model)), not same(before[1], weights(task.discriminator))))
    d, g = (False, True), (True, False)
    assert changed == [d, d, g, d, d, g, d]
    counts = {name: {int(optimizer.state[p]["step"]) for p in network.parameters()} for name, network in
              (("g", task.model), ("d", task.discriminator))}  # fmt: skip
    assert counts == {"g": {2}, "d": {5}}


def test_accumulated_micro_batches_belong_to_one_turn():
    task = made("gan", training={"accumulate": 2}).task
    assert [task.is_generators_turn(k) for k in range(6)] == [False, False, True, True, False, False]


def test_a_step_of_one_optimiser_is_what_two_would_do():
    """Oracle: the usual loop with an Adam for each network."""
    ours, plain = made("gan", beta1=0.5), made("gan", beta1=0.5)
    stepped(ours, 6)
    task, section = plain.task, plain.task.section
    betas = (0.5, section.training.beta2)
    each = [
        torch.optim.AdamW(
            task.discriminator.parameters(), section.discriminator_learning_rate, betas, weight_decay=0, fused=True
        ),
        torch.optim.AdamW(task.model.parameters(), section.training.learning_rate, betas, weight_decay=0, fused=True),
    ]
    for k, optimizer in zip(range(6), itertools.cycle(each), strict=False):
        task.zero_grad()
        task.training_step(plain.draw(k), k).backward()
        optimizer.step()
    for a, b in zip(ours.task.parameters(), task.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_the_latest_losses_of_both_are_logged_at_every_step():
    experiment = made("gan")
    stepped(experiment, 3)
    generators, discriminators = (experiment.task.logged[f"train/{n}_loss"] for n in ("generator", "discriminator"))
    assert len(generators) == len(discriminators) == 3
    assert generators[0] == 0
    assert generators[1] == generators[2] != 0
    assert discriminators[0] == discriminators[1] != discriminators[2]


def test_the_exported_network_is_the_generator_alone():
    experiment = made("gan")
    names = set(experiment.task.state_dict())
    assert any(name.startswith("discriminator.") for name in names)
    assert not any("discriminator" in name for name in experiment.task.model.state_dict())


@pytest.mark.parametrize("family", ["vae", "gan"])
def test_data_without_classes_makes_an_unconditional_model(family, tmp_path):
    experiment = made(family, data=without_classes(tmp_path / "images"))
    assert experiment.task.description.classes == ()
    stepped(experiment, 2)
    assert experiment.task.preview().size[0] > 100


@pytest.mark.parametrize("family", ["vae", "gan"])
def test_bad_input_is_refused_in_a_sentence(family, tmp_path):
    with pytest.raises(UserError, match="no prepared data"):
        made(family, data=tmp_path)
    for training, world_size in (({"accumulate": 5}, 1), ({}, 3)):
        with pytest.raises(UserError, match=rf"{family}.training.batch_size=32 cannot be divided"):
            made(family, 0, world_size, training=training)
    with pytest.raises(UserError, match="cannot be halved 4 times"):
        made(family, channel_mult=[1, 1, 1, 1])

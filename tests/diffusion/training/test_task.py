import json
import shutil

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

from stepladder.data.image_arrays import ImageArrays
from stepladder.diffusion.likelihood import bits_per_dim, loss_by_time
from stepladder.diffusion.networks.description import DiffusionDescription
from stepladder.diffusion.processes.processes import EDM
from stepladder.diffusion.processes.schedules import schedule
from stepladder.diffusion.sampling.drawing import draw
from stepladder.diffusion.super_resolution import low_resolution
from stepladder.diffusion.training import task
from stepladder.diffusion.training.task import experiment, side_at
from stepladder.errors import UserError
from stepladder.params import Sampling
from stepladder.tasks.randomness import generator
from tests.digits import log_nothing, loss, params, prepared, trained, without_classes

LEARNED = {"variance": "learned_range", "loss": "hybrid"}
OPTIONS = [
    {"process": "discrete", "time_sampling": "stratified", "schedule": "laplace"},
    {"process": "discrete", "time_sampling": "logit_normal", "zero_terminal_snr": True, "schedule": "scaled_linear"},
    {"process": "discrete", "time_sampling": "log_normal", "time_mean": -1.2, "time_std": 1.2, "prediction": "eps"},
    {"process": "discrete", "weighting": "min_snr", "prediction": "x0"},
    {"process": "discrete", "weighting": "p2", "prediction": "eps", "schedule": "sigmoid"},
    {"process": "discrete", "loss": "vlb", "prediction": "eps", "schedule": "linear"},
    {"process": "discrete", "time_sampling": "loss_second_moment"},
    {"process": "discrete", **LEARNED},
    {"process": "discrete", "variance": "learned_range", "loss": "vlb", "zero_terminal_snr": True},
    {"process": "continuous", "time_sampling": "stratified", "weighting": "min_snr"},
    {"process": "continuous", "time_sampling": "log_normal", "schedule": "log_snr", "log_snr": [9.0, 0.0, -9.0]},
    {"process": "edm", "time_sampling": "log_normal", "time_mean": -1.2, "time_std": 1.2},
    {"process": "edm", "weighting": "min_snr"},
    {"process": "flow", "time_sampling": "logit_normal"},
    {"process": "flow", "time_sampling": "log_normal"},
    {"process": "discrete", "low_resolution": 4, "flip": True},
    {"process": "discrete", "curriculum": [2, 4], "flip": True, "training": {"batch_size": 32, "steps": 40}},
]


class Small(nn.Module):
    """Convolutions that know the time and keep what they were told."""

    def __init__(self, model):
        super().__init__()
        channels = model.shape[0]
        self.into = nn.Conv2d(channels + 1, 8, 3, padding=1)
        self.mean = nn.Conv2d(8, channels, 3, padding=1)
        self.variance = nn.Conv2d(8, channels, 3, padding=1) if model.outputs > channels else None
        self.told = []

    def forward(self, x, time, condition):
        self.told.append((x, time, condition))
        at = time[:, None, None, None].expand(-1, 1, *x.shape[2:])
        h = torch.tanh(self.into(torch.cat([x, at], 1)))
        return self.mean(h) if self.variance is None else torch.cat([self.mean(h), self.variance(h)], 1)


@pytest.fixture
def small(monkeypatch):
    """The network of these tests in place of the UNet: any number of outputs, any side."""
    monkeypatch.setattr(task, "build", Small)


def made(rank=0, world_size=1, timesteps=10, data=None, **diffusion):
    section = params().diffusion.model_dump() | diffusion
    sweep = {"timesteps": [timesteps], "sampling_steps": [1]}
    made = experiment(
        params(diffusion=section, sweep=sweep),
        data or prepared(),
        rank=rank,
        world_size=world_size,
        timesteps=timesteps,
    )
    log_nothing(made)
    return made


def awake(*experiments):
    """The same weights in all, none of them zero."""
    torch.manual_seed(1)
    for parameter in experiments[0].task.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    for other in experiments[1:]:
        other.task.load_state_dict(experiments[0].task.state_dict())


@pytest.mark.parametrize("world_size", [2, 4])
@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_the_number_of_ranks_does_not_change_the_loss(world_size, prediction):
    options = {"prediction": prediction, "label_dropout": 0.3, "flip": True}
    whole = made(**options)
    ranks = [made(rank, world_size, **options) for rank in range(world_size)]
    awake(whole, *ranks)
    for position in (0, 7, 100):
        parts = [loss(rank, rank.draw(position)) for rank in ranks]
        assert all(len(rank.draw(position)["labels"]) == 32 // world_size for rank in ranks)
        torch.testing.assert_close(torch.stack(parts).mean(), loss(whole, whole.draw(position)), rtol=1e-4, atol=1e-5)


def test_the_number_of_ranks_does_not_change_the_validation():
    whole, ranks = made(), [made(0, 2), made(1, 2)]
    awake(whole, *ranks)
    logs = [log_nothing(e) for e in (whole, *ranks)]
    for e in (whole, *ranks):
        for i, batch in enumerate(e.validation):
            e.task.validation_step(batch, i)
    sizes = [[len(batch["labels"]) for batch in e.validation] for e in (whole, *ranks)]
    assert sum(sizes[0]) == len(ImageArrays.open(prepared(), "test").labels) == sum(sizes[1]) + sum(sizes[2])
    mean = sum(
        n * v
        for log, s in zip(logs[1:], sizes[1:], strict=True)
        for n, v in zip(s, log["validation/loss"], strict=True)
    )
    expected = sum(n * v for n, v in zip(sizes[0], logs[0]["validation/loss"], strict=True))
    assert mean == pytest.approx(expected, rel=1e-4)


def test_a_position_gives_the_same_batch_and_the_same_loss_again():
    first, again = made(), made()
    awake(first, again)
    torch.testing.assert_close(first.draw(5)["images"], again.draw(5)["images"])
    assert loss(first, first.draw(5)).item() == loss(again, again.draw(5)).item()
    assert loss(first, first.draw(5)).item() != loss(first, first.draw(6)).item()
    assert first.draw(5)["position"] == 5


def test_at_the_start_the_loss_is_the_target_s_power():
    assert loss(made(prediction="eps"), made().draw(0)).item() == pytest.approx(1, abs=0.1)


def test_loss_falls_in_a_few_steps():
    before = made(prediction="v", timesteps=50)
    start = loss(before, before.draw(1000)).item()
    after = trained(before, 30)
    assert loss(after, after.draw(1000)).item() < 0.6 * start


def test_hidden_labels_reach_the_network_as_no_class():
    hidden = made(label_dropout=1.0)
    seen = []
    hidden.task.model.register_forward_hook(lambda module, given, output: seen.append(given))
    loss(hidden, hidden.draw(0))
    x, time, condition = seen[0]
    assert set(condition["labels"].tolist()) == {10}
    assert ((time > 0) & (time <= 1)).all()
    assert x.dtype == torch.float32


def test_data_without_classes_makes_an_unconditional_model(tmp_path):
    folder = without_classes(tmp_path / "images")
    unconditional = experiment(params(), folder, timesteps=5)
    log_nothing(unconditional)
    assert unconditional.task.description.classes == ()
    assert unconditional.task.model.label is None
    assert loss(unconditional, unconditional.draw(0)).isfinite()


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: " ".join(map(str, o.values())))
def test_whatever_is_trained_ranks_agree_and_the_loss_falls(small, options):
    whole, *ranks = made(**options), made(0, 2, **options), made(1, 2, **options)
    awake(whole, *ranks)
    for position in (0, 7):
        parts = [loss(rank, rank.draw(position)) for rank in ranks]
        torch.testing.assert_close(torch.stack(parts).mean(), loss(whole, whole.draw(position)), rtol=1e-4, atol=1e-5)
    before = np.mean([loss(whole, whole.draw(k)).item() for k in range(1000, 1010)])
    trained(whole, 40, learning_rate=1e-2)
    assert np.mean([loss(whole, whole.draw(k)).item() for k in range(1000, 1010)]) < 0.9 * before


def test_default_draws_are_steps_then_noise_then_what_is_hidden():
    """In this order, from one generator: the figures that were measured stay those of these parameters."""
    whole = made(label_dropout=0.3)
    batch, random = whole.draw(3), generator(0, 3)
    t = torch.randint(10, (32,), generator=random)
    eps = torch.randn((32, 1, 8, 8), generator=random)
    hidden = torch.rand((2, 32), generator=random)[0] < 0.3
    signal = torch.tensor(schedule("cosine", 10).alphas_cumprod, dtype=torch.float32)[t][:, None, None, None]
    x_0 = batch["images"].float() / 127.5 - 1
    x_t, v = signal.sqrt() * x_0 + (1 - signal).sqrt() * eps, signal.sqrt() * eps - (1 - signal).sqrt() * x_0
    output = whole.task.model(x_t, (t + 1) / 10, {"labels": torch.where(hidden, 10, batch["labels"])})
    torch.testing.assert_close(loss(whole, batch), (output - v).square().mean(), rtol=1e-6, atol=1e-7)


def test_the_hybrid_loss_trains_the_mean_by_its_squared_error_only(small):
    gradients = []
    for vlb_weight in (1e-3, 1.0):
        hybrid = made(**LEARNED, vlb_weight=vlb_weight)
        awake(hybrid)
        loss(hybrid, hybrid.draw(0)).backward()
        gradients.append(hybrid.task.model)
    (less, more), simple = gradients, made()
    simple.task.model.load_state_dict({k: v for k, v in less.state_dict().items() if "variance" not in k}, strict=False)
    loss(simple, simple.draw(0)).backward()
    torch.testing.assert_close(less.mean.weight.grad, simple.task.model.mean.weight.grad)
    torch.testing.assert_close(more.mean.weight.grad, less.mean.weight.grad)
    torch.testing.assert_close(more.variance.weight.grad, 1000 * less.variance.weight.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("variance", ["fixed", "learned_range"])
def test_the_bound_in_training_is_bits_per_dim_less_the_prior(small, variance):
    """Over all steps alike: T times the term is an estimate of the sum."""
    bound = made(loss="vlb", variance=variance, timesteps=4, time_sampling="stratified", label_dropout=0)
    awake(bound)
    batch = bound.draw(0)
    batch |= {"images": batch["images"][:1].repeat(4000, 1, 1, 1), "labels": torch.zeros(4000).long(), "size": 4000}
    x_0 = batch["images"][:500].float() / 127.5 - 1
    found = bits_per_dim(bound.task.model, bound.task.description, x_0, {"labels": torch.zeros(500).long()}, clip=False)
    expected = found["bits_per_dim"] - found["prior"]
    assert loss(bound, batch).item() == pytest.approx(expected, rel=0.03)


def test_validation_measures_the_same_whatever_the_loss(small):
    plain, found = made(), []
    for options in ({}, {"weighting": "min_snr"}, {"time_sampling": "stratified"}, {"time_sampling": "log_normal"},
                    {"loss": "vlb"}, {"time_sampling": "loss_second_moment"}):  # fmt: skip
        other = made(**options)
        awake(plain, other) if not found else other.task.model.load_state_dict(plain.task.model.state_dict())
        logged = log_nothing(other)
        for i, batch in enumerate(other.validation):
            other.task.validation_step(batch, i)
        found.append(logged["validation/loss"])
        assert ("validation/bound" in logged) == (options.get("loss") == "vlb")
    assert all(values == found[0] for values in found)


def test_the_history_of_losses_is_state_of_the_task_and_resuming_goes_on_with_it(small):
    whole, again = (made(time_sampling="loss_second_moment", timesteps=3) for _ in range(2))
    awake(whole, again)
    drawn = [loss(whole, whole.draw(k)).item() for k in range(6)]
    assert whole.task.levels.count.sum() == 6 * 32
    assert (whole.task.levels.count >= 10).all(), "from here on steps are drawn by importance"
    assert not any("history" in key for key in whole.task.model.state_dict())
    for k in range(4):
        loss(again, again.draw(k))
    resumed = made(time_sampling="loss_second_moment", timesteps=3)
    resumed.task.load_state_dict(again.task.state_dict())
    assert [loss(resumed, resumed.draw(k)).item() for k in (4, 5)] == drawn[4:]
    forgetful = made(time_sampling="loss_second_moment", timesteps=3)
    forgetful.task.model.load_state_dict(again.task.model.state_dict())
    assert loss(forgetful, forgetful.draw(4)).item() != drawn[4], "the history makes a difference"


def rank_with_history(rank, world_size, folder):
    """One of two processes: three micro-batches, no step."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world_size)
    task.build = Small
    part = made(rank, world_size, data=folder / "images", time_sampling="loss_second_moment", timesteps=3)
    part.task.model.load_state_dict(torch.load(folder / "weights.pt"))
    losses = [loss(part, part.draw(k)).item() for k in range(5)]
    torch.save((part.task.levels.history, part.task.levels.count, losses), folder / f"rank{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_all_ranks_keep_the_history_that_one_alone_would(small, tmp_path):
    whole = made(time_sampling="loss_second_moment", timesteps=3)
    awake(whole)
    torch.save(whole.task.model.state_dict(), tmp_path / "weights.pt")
    shutil.copytree(prepared(), tmp_path / "images")
    losses = [loss(whole, whole.draw(k)).item() for k in range(5)]
    torch.multiprocessing.spawn(rank_with_history, (2, tmp_path), nprocs=2)
    (history, count, first), (other, other_count, second) = (torch.load(tmp_path / f"rank{r}.pt") for r in range(2))
    assert torch.equal(history, other)
    assert torch.equal(count, other_count)
    assert torch.equal(count, whole.task.levels.count)
    torch.testing.assert_close(history, whole.task.levels.history)
    assert np.allclose((np.array(first) + second) / 2, losses, rtol=1e-5)


def test_losses_are_logged_by_quarter_of_time(small):
    whole = made(timesteps=4)
    awake(whole)
    logged = log_nothing(whole)
    total = loss(whole, whole.draw(0)).item()
    t = torch.randint(4, (32,), generator=generator(0, 0))
    shares = torch.bincount(t, minlength=4) / 32
    parts = torch.tensor([logged[f"train/loss_q{q}"][0] for q in (1, 2, 3, 4)])
    assert (shares * parts).sum().item() == pytest.approx(total, rel=1e-5)
    two = made(timesteps=2)
    logged = log_nothing(two)
    loss(two, two.draw(0))
    assert {name for name in logged if "_q" in name} == {"train/loss_q2", "train/loss_q4"}


def test_edm_s_levels_are_log_normal_and_uniform_means_even_in_ln_sigma(small):
    least, most = np.log(EDM.sigmas)
    for options, mean, std in (
        ({"time_sampling": "log_normal", "time_mean": -1.2, "time_std": 1.2}, -1.2, 1.2),
        ({}, (least + most) / 2, (most - least) / 12**0.5),
    ):
        edm = made(process="edm", **options)
        for k in range(40):
            loss(edm, edm.draw(k))
        times = torch.cat([time for _, time, _ in edm.task.model.told]).double().numpy()
        sigmas = least + (most - least) * times
        assert sigmas.mean() == pytest.approx(mean, abs=0.2)
        assert sigmas.std() == pytest.approx(std, rel=0.1)
        x = torch.cat([x for x, _, _ in edm.task.model.told])
        assert x.std().item() == pytest.approx(1, abs=0.4), "the network sees unit variance"


def test_the_low_resolution_is_a_mean_of_the_picture_with_noise_that_is_told(small):
    upscaled = made(low_resolution=4, low_resolution_noise=0.0, label_dropout=1.0)
    batch = upscaled.draw(0)
    loss(upscaled, batch)
    _, _, condition = upscaled.task.model.told[0]
    x_0 = batch["images"].float() / 127.5 - 1
    torch.testing.assert_close(condition["low_resolution"], x_0.view(32, 1, 4, 2, 4, 2).mean((3, 5)))
    assert (condition["low_resolution_noise"] == 0).all()
    assert (condition["labels"] == 10).all(), "what is hidden is the class"
    noisy = made(low_resolution=4, low_resolution_noise=0.5)
    loss(noisy, noisy.draw(0))
    _, _, told = noisy.task.model.told[0]
    level = told["low_resolution_noise"]
    assert ((level >= 0) & (level <= 0.5)).all()
    assert level.std() > 0.1
    added = (told["low_resolution"] - condition["low_resolution"]).flatten(1).std(1)
    assert np.corrcoef(added.numpy(), level.numpy())[0, 1] > 0.9
    assert noisy.task.description.model.low_resolution == 4
    assert set(noisy.task.previewed) == {"labels", "low_resolution", "low_resolution_noise"}


def test_a_curriculum_grows_in_equal_parts_of_its_share():
    sides = [side_at(k, 200, (8, 16, 24), 0.3) for k in range(200)]
    assert sides == [8] * 20 + [16] * 20 + [24] * 20 + [None] * 140
    assert {side_at(k, 5, (), 0.5) for k in range(5)} == {None}


def test_pictures_follow_the_curriculum(small):
    growing = made(curriculum=[2, 4], curriculum_share=0.5, training={"steps": 8, "batch_size": 32, "accumulate": 2})
    for k in range(16):
        loss(growing, growing.draw(k))
    assert [x.shape[2] for x, _, _ in growing.task.model.told] == [2] * 4 + [4] * 4 + [8] * 8
    growing.task.validation_step(growing.validation[0], 0)
    assert growing.task.model.told[-1][0].shape[2] == 8


def test_a_wide_picture_is_brought_to_a_side_in_proportion():
    assert low_resolution(torch.zeros(1, 1, 8, 16), 4).shape == (1, 1, 4, 8)


def test_texts_reach_the_network_and_are_hidden_with_the_class(small, tmp_path):
    folder = shutil.copytree(prepared(), tmp_path / "images")
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"text": {"vocabulary": 50, "length": 6}}))
    (folder / "tokenizer.json").write_text("{}")
    for split in ("train", "test"):
        np.save(folder / f"{split}_texts.npy", np.full((card["counts"][split], 6), 7))
    told = []
    for dropout in (0.0, 1.0):
        section = params().diffusion.model_dump() | {"text": True, "label_dropout": dropout}
        read = experiment(params(diffusion=section, images={"text_column": "name"}), folder, timesteps=5)
        log_nothing(read)
        loss(read, read.draw(0))
        told.append(read.task.model.told[0][2]["text"])
    assert (told[0] == 7).all()
    assert told[0].shape == (32, 6)
    assert (told[1] == 0).all()
    model = read.task.description.model
    assert (model.vocabulary, model.text_length, model.text_encoder.depth) == (50, 6, 2)
    assert read.files == {"tokenizer.json": folder / "tokenizer.json"}
    assert read.task.previewed["text"].shape == (40, 6)


def test_the_configuration_says_all_that_using_the_model_takes(small):
    config = made(**LEARNED, zero_terminal_snr=True, schedule="scaled_linear").task.description
    assert DiffusionDescription.model_validate_json(config.to_json(), strict=True) == config
    assert config.model.outputs == 2
    kept = ("process", "schedule", "zero_terminal_snr", "prediction", "variance", "timesteps", "label_dropout")
    assert [getattr(config, key) for key in kept] == ["discrete", "scaled_linear", True, "v", "learned_range", 10, 0.1]
    assert made().task.description.model.outputs == 1
    assert made().files == {}


def test_preview_is_forty_pictures():
    picture = made().task.eval().preview()
    assert picture.size[0] / picture.size[1] == pytest.approx(10 / 4, rel=0.02)


@pytest.mark.parametrize(
    "options",
    [{"process": "continuous"}, {"process": "edm"}, {"process": "flow"}, LEARNED, {"low_resolution": 4}],
    ids=str,
)
def test_every_model_has_a_preview(small, options):
    assert made(**options).task.eval().preview().size == made().task.preview().size


def test_what_the_data_has_not_is_refused_in_a_sentence():
    for options, sentence in (
        ({"low_resolution": 8}, "low_resolution has a side of 8 for pictures of 8x8; give a smaller one"),
        ({"curriculum": [4, 16]}, "curriculum has a side of 16 for pictures of 8x8"),
    ):
        with pytest.raises(UserError, match=sentence):
            made(**options)
    section = params(images={"text_column": "name"}, diffusion={"text": True})
    with pytest.raises(UserError, match="prepared with texts"):
        experiment(section, prepared(), timesteps=10)


def test_bad_input_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(UserError, match="--timesteps T"):
        experiment(params(), prepared())
    with pytest.raises(UserError, match="no prepared data"):
        experiment(params(), tmp_path, timesteps=10)
    for training, world_size in (({"batch_size": 32, "accumulate": 5}, 1), ({"batch_size": 32}, 3)):
        with pytest.raises(UserError, match=r"batch_size=32 cannot be divided"):
            made(0, world_size, training=training)


def test_sigma_data_is_that_of_the_data_wherever_a_model_is_used():
    """EDM at 0.75, the digits' own: a network that says 0 is worth c_skip x, in training, drawing and the bound."""
    whole = made(process="edm", timesteps=100)
    spread = json.loads((prepared() / "card.json").read_text())["sigma_data"]
    assert whole.task.description.sigma_data == spread == pytest.approx(0.75, abs=0.02)
    for parameter in whole.task.parameters():
        torch.nn.init.zeros_(parameter)
    inputs = []
    whole.task.model.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    assert loss(whole, whole.draw(0)).item() == pytest.approx(1, abs=0.15), "the target has unit variance"
    images, labels = torch.zeros(4, 1, 8, 8), {"labels": torch.zeros(4, dtype=torch.int64)}
    found = loss_by_time(whole.task.model, whole.task.description, images, labels, points=5)
    sigma = np.geomspace(*EDM.sigmas, 6)[1:]
    left = sigma**2 * spread**4 / (sigma**2 + spread**2) ** 2  # of data 0: c_skip sigma eps
    np.testing.assert_allclose(found["error_of_x_0"], left, rtol=0.25)
    del inputs[:]
    draw(whole.task.model, whole.task.description, labels, 1, Sampling(sampler="heun", clip=False), seed=3)
    assert inputs[0].std().item() == pytest.approx(80 / (80**2 + spread**2) ** 0.5, abs=0.2)
    old = {key: value for key, value in json.loads(whole.task.description.to_json()).items() if key != "sigma_data"}
    assert DiffusionDescription.model_validate_json(json.dumps(old), strict=True).sigma_data == 0.5

import json
import shutil

import numpy as np
import pytest
import torch

from stepladder.diffusion.samplers.samplers import SAMPLERS
from stepladder.diffusion.sampling.drawing import class_numbers, draw, grid, load, to_uint8
from stepladder.diffusion.training.task import experiment
from stepladder.errors import UserError
from stepladder.params import Sampling
from tests.describing import changed
from tests.digits import params, prepared, save

SAMPLINGS = [
    Sampling(), Sampling(eta=1.0, sampler="ddim"), Sampling(sampler="ddim"), Sampling(variance="fixed_large"),
    Sampling(guidance_scale=2.0, guidance_interval=(0.2, 0.8), guidance_rescale=0.7),
    Sampling(spacing="quadratic", clip=False), Sampling(sampler="dpmpp_2m", dynamic_threshold=0.99),
    Sampling(sampler="heun", churn=2.0), Sampling(sampler="unipc", spacing="karras"), Sampling(sampler="euler"),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = experiment(params(), prepared(), timesteps=20)
    torch.manual_seed(2)
    for parameter in made.task.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return save(made, tmp_path_factory.mktemp("models") / "T20")


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_a_picture_does_not_depend_on_the_batch_size(folder, sampling):
    model, config = load(folder)
    labels = torch.arange(7) % 10
    few, many = (draw(model, config, {"labels": labels}, 4, sampling, seed=3, batch_size=size) for size in (3, 100))
    assert few.shape == (7, 1, 8, 8)
    assert few.abs().max() <= 1
    torch.testing.assert_close(few, many, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        draw(model, config, {"labels": labels[:2]}, 4, sampling, seed=3), many[:2], rtol=1e-5, atol=1e-5
    )
    assert (draw(model, config, {"labels": labels}, 4, sampling, seed=4) - many).abs().mean() > 1e-3


@pytest.mark.parametrize("steps", [1, 20])
def test_from_one_step_to_all(folder, steps):
    model, config = load(folder)
    assert draw(model, config, {"labels": torch.tensor([1])}, steps, Sampling()).isfinite().all()


def test_no_labels_no_pictures(folder):
    model, config = load(folder)
    assert draw(model, config, {"labels": torch.zeros(0, dtype=torch.long)}, 2, Sampling()).shape == (0, 1, 8, 8)


def test_more_steps_than_the_model_has_are_refused(folder):
    model, config = load(folder)
    with pytest.raises(UserError, match="S=21 sampling steps given for a model of T=20"):
        draw(model, config, {"labels": torch.tensor([1])}, 21, Sampling())


@pytest.mark.parametrize("change", [{"classes": []}, {"label_dropout": 0.0}])
def test_guidance_of_a_model_that_never_saw_no_class_is_refused(folder, change):
    model, config = load(folder)
    with pytest.raises(UserError, match="guidance_scale=3 needs a model trained with classes"):
        draw(model, changed(config, **change), {"labels": torch.tensor([1])}, 2, Sampling(guidance_scale=3.0))


def test_a_loaded_model_is_the_saved_one(folder):
    model, config = load(folder)
    assert not model.training
    assert config.timesteps == 20
    assert config.classes == tuple(str(i) for i in range(10))


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: (f / "model.safetensors").write_bytes(b"not weights"),
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:1000]),
        lambda f: (f / "model.safetensors").unlink(),
        lambda f: (f / "config.json").write_text("{"),
        lambda f: (f / "config.json").write_bytes(b"\xff\xfe"),
        lambda f: (f / "config.json").write_text("[]"),
        lambda f: (f / "config.json").write_text(json.dumps({"model": {"depth": 3}})),
        lambda f: (f / "config.json").write_text((f / "config.json").read_text().replace('"channels": 8', '"channels": 16')),
    ],
)  # fmt: skip
def test_a_damaged_folder_is_refused_in_one_line(folder, tmp_path, damage):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    damage(copy)
    with pytest.raises(UserError, match="holds no diffusion model that can be loaded") as refusal:
        load(copy)
    assert "\n" not in str(refusal.value)


def test_class_numbers():
    config = ("cat", "dog")
    assert class_numbers(config, None, 5).tolist() == [0, 1, 0, 1, 0]
    assert class_numbers(config, ["dog", "cat"], 2).tolist() == [1, 1, 0, 0]
    assert class_numbers((), None, 2).tolist() == [0, 0]
    with pytest.raises(UserError, match="does not know the class cow; it knows: cat, dog"):
        class_numbers(config, ["dog", "cow"], 1)
    with pytest.raises(UserError, match="it knows: none"):
        class_numbers((), ["cow"], 1)


def test_bytes_of_prepared_pictures_survive():
    images = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    assert (to_uint8(torch.from_numpy(images).float() / 127.5 - 1) == images).all()
    assert to_uint8(torch.tensor([-3.0, 3.0])).tolist() == [0, 255]


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_grid(channels, mode):
    pictures = torch.full((5, channels, 8, 8), -1.0)
    pictures[4] = 1.0
    sheet = grid(pictures, columns=3, scale=1)
    assert sheet.mode == mode
    assert sheet.size == (3 * 9 + 1, 2 * 9 + 1)
    array = np.asarray(sheet).reshape(19, 28, -1)
    assert (array[1:9, 1:9] == 0).all()
    assert (array[10:18, 10:18] == 255).all()
    assert grid(pictures, columns=3).size == (5 * 28, 5 * 19)


class Brighter:
    """A classifier that takes bright pictures for class 1."""

    def __call__(self, x, time):
        light = x.mean((1, 2, 3))
        return torch.stack([-light, light, *[light * 0 - 9] * 8], dim=1)


def test_a_classifier_guides_towards_its_class(folder):
    model, config = load(folder)
    condition = {"labels": torch.ones(8, dtype=torch.long)}
    plain = draw(model, config, condition, 10, Sampling())
    guided = draw(model, config, condition, 10, Sampling(classifier_scale=20.0), classifier=Brighter())
    assert guided.mean() > plain.mean() + 0.01
    with pytest.raises(UserError, match="classifier_scale=20 needs a noisy classifier"):
        draw(model, config, condition, 10, Sampling(classifier_scale=20.0))


def test_guidance_outside_its_interval_is_none(folder):
    model, config = load(folder)
    condition = {"labels": torch.arange(4)}
    never = Sampling(guidance_scale=5.0, guidance_interval=(0.0, 0.01))
    assert torch.equal(draw(model, config, condition, 5, never), draw(model, config, condition, 5, Sampling()))


def test_a_variance_that_was_not_learned_is_refused(folder):
    model, config = load(folder)
    with pytest.raises(UserError, match="variance=learned needs a model that learned it"):
        draw(model, config, {"labels": torch.tensor([1])}, 5, Sampling(variance="learned"))


@pytest.mark.parametrize("process", ["continuous", "edm", "flow"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_draws_from_every_process(process, sampler):
    made = experiment(
        params(diffusion={"process": process}, sweep={"timesteps": [50], "sampling_steps": [5]}),
        prepared(),
        timesteps=50,
    )
    config = made.task.description
    seen = []
    pictures = draw(
        made.task.model, config, {"labels": torch.arange(3)}, 6, Sampling(sampler=sampler, churn=float(sampler == "heun")),
        callback=lambda i, x, x_0: seen.append(i),
    )  # fmt: skip
    assert pictures.shape == (3, 1, 8, 8)
    assert pictures.isfinite().all()
    assert seen == list(range(6))


def test_a_learned_variance_is_drawn_with():
    learned = {"variance": "learned_range", "loss": "hybrid"}
    made = experiment(params(diffusion=learned), prepared(), timesteps=50)
    sampling = Sampling(variance="learned")
    assert draw(made.task.model, made.task.description, {"labels": torch.arange(3)}, 6, sampling).isfinite().all()

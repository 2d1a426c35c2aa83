import numpy as np
import pytest
import torch

from stepladder.data.grid import scaled
from stepladder.diffusion.likelihood import bits_per_dim
from stepladder.diffusion.sampling.drawing import load
from stepladder.diffusion.training import task as diffusion
from stepladder.errors import UserError
from stepladder.evaluation import feature_task
from stepladder.evaluation.pictures.held_out import condition, rows
from stepladder.evaluation.pictures.judging import Judge
from stepladder.evaluation.pictures.likelihood import likelihood
from tests.describing import described_model
from tests.digits import params, prepared, save, trained


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("likelihood")
    torch.manual_seed(0)
    save(feature_task.experiment(params(), prepared()), folder / "feature-net")
    save(trained(diffusion.experiment(params(), prepared(), timesteps=20), 40), folder / "T20")
    return folder


def found(folder, model="T20", **settings):
    judge = Judge(params(evaluation={"samples": 10, "bootstrap": 50} | settings), prepared(), folder / "feature-net")
    return likelihood(*load(folder / model), judge), judge


def test_the_bound_of_all_steps_on_the_first_pictures(folder):
    result, judge = found(folder, likelihood_images=30)
    numbers = rows(judge.test, 30)
    model, config = load(folder / "T20")
    told = condition(judge.test, numbers, config)
    expected = bits_per_dim(model, config, scaled(judge.test.images[numbers]), told, seed=0)
    assert result["bits_per_dim"] == expected["bits_per_dim"]
    assert (result["steps"], result["images"], len(result["terms"])) == (20, 30, 20)
    assert result["bits_per_dim"] == pytest.approx(sum(result["terms"]) + result["prior"])
    assert result["bits_per_dim_low"] < result["bits_per_dim"] < result["bits_per_dim_high"]
    assert 1 < result["bits_per_dim"] < 8.5, "8 is what 256 equally likely levels take"


def test_its_interval_is_that_of_a_mean_over_pictures(folder):
    result, judge = found(folder, likelihood_images=300, bootstrap=1000)
    model, config = load(folder / "T20")
    numbers = rows(judge.test, 300)
    by_picture = bits_per_dim(
        model, config, scaled(judge.test.images[numbers]), condition(judge.test, numbers, config), seed=0
    )["by_picture"]
    width = result["bits_per_dim_high"] - result["bits_per_dim_low"]
    assert width == pytest.approx(2 * 1.96 * np.std(by_picture) / np.sqrt(300), rel=0.1)


@pytest.mark.parametrize(("evaluations", "images"), [(0, 50), (100, 5), (7, 1), (10_000, 50)])
def test_evaluations_limit_the_pictures_of_the_bound_only(folder, evaluations, images):
    result, _ = found(folder, likelihood_images=50, likelihood_evaluations=evaluations)
    assert result["images"] == images
    assert result["by_time"]["images"] == 50
    assert len(result["by_time"]["times"]) == len(result["by_time"]["error"]) == 20


def test_no_pictures_no_figures(folder):
    assert found(folder, likelihood_images=0)[0] == {}


def test_the_learned_variance_by_time(folder):
    learned = params(diffusion={"variance": "learned_range", "loss": "hybrid"})
    save(trained(diffusion.experiment(learned, prepared(), timesteps=20), 5), folder / "learned")
    result, _ = found(folder, "learned", likelihood_images=10)
    assert result["variance"] == "learned"
    assert all(0 <= value <= 1 for value in result["by_time"]["fraction"])
    assert found(folder, likelihood_images=10)[0]["by_time"]["fraction"] is None


def test_a_model_of_a_low_resolution_is_given_that_of_the_held_out_pictures(folder):
    _, judge = found(folder, likelihood_images=0)
    config = described_model({"classes": judge.test.card["classes"], "model": {"low_resolution": 4}})
    asked = condition(judge.test, np.array([3, 5]), config)
    picture = judge.test.images[5, 0].astype(float).reshape(4, 2, 4, 2).mean((1, 3)) / 127.5 - 1
    assert asked["low_resolution"][1, 0].numpy() == pytest.approx(picture, abs=1e-5)
    assert asked["low_resolution_noise"].tolist() == [0, 0]


def test_a_model_of_texts_needs_texts(folder):
    _, judge = found(folder, likelihood_images=0)
    with pytest.raises(UserError, match="prepared pictures have none"):
        condition(judge.test, np.array([0]), described_model({"model": {"vocabulary": 100}}))

import numpy as np
import pytest
import torch

from stepladder.evaluation import feature_task
from stepladder.evaluation.pictures.judging import Judge, scaled
from stepladder.metrics.pictures import POINTS
from tests.digits import params, prepared, save, trained

SETTINGS = params(evaluation={"samples": 120, "bootstrap": 40})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("judge")
    torch.manual_seed(0)
    return save(trained(feature_task.experiment(params(), prepared()), 120), folder / "feature-net")


@pytest.fixture(scope="module")
def judge(folder):
    return Judge(SETTINGS, prepared(), folder)


def real(judge, split, count=120):
    arrays = getattr(judge, split)
    order = np.random.default_rng(7).permutation(len(arrays.labels))  # neighbours in the data are of one hand
    chosen = np.concatenate([order[arrays.labels[order] == label][: count // 10] for label in range(10)])
    return scaled(arrays.images[chosen]), torch.from_numpy(arrays.labels[chosen])


def test_real_pictures_are_near_the_floor(judge):
    point = judge.point(*real(judge, "train"))
    assert point["images"] == judge.floor["images"] == 120
    for name in ("precision", "recall", "coverage"):
        assert point[name] == pytest.approx(judge.floor[name], abs=0.12)
    assert point["density"] == pytest.approx(1, abs=0.15)
    assert point["frechet"] < 2 * judge.floor["frechet"]
    assert point["accuracy"] > 0.9


def test_the_floor_has_the_classes_of_what_is_drawn(folder):
    """With other seeds it stays; shares of classes left to chance move it twofold and more."""
    floors = [
        Judge(SETTINGS.model_copy(update={"seed": seed}), prepared(), folder).floor["frechet"] for seed in range(4)
    ]
    assert max(floors) < 1.6 * min(floors)


def test_held_out_pictures_are_as_far_from_the_training_pictures_as_they_should_be(judge):
    point = judge.point(scaled(judge.test.images), torch.from_numpy(judge.test.labels))
    assert point["memorised"] == pytest.approx(0.01, abs=0.003)
    assert point["nearest_ratio"] == 1
    assert point["frechet"] == pytest.approx(0, abs=1e-6)
    assert (point["precision"], point["recall"], point["coverage"]) == (1, 1, 1)


def test_copies_are_found_and_noise_is_found_out(judge):
    copied = judge.point(*real(judge, "train"))
    assert copied["memorised"] == 1
    assert copied["nearest_ratio"] == 0
    labels = torch.arange(120) % 10
    noise = judge.point(torch.rand(120, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1, labels)
    assert noise["memorised"] == 0
    assert noise["nearest_ratio"] > 1.5
    assert noise["frechet"] > 4 * judge.floor["frechet"]
    for name in ("precision", "density", "coverage"):
        assert noise[name] < 0.7 * copied[name], name
    assert noise["accuracy"] < 0.3


def test_one_class_only_costs_recall_and_coverage_not_precision(judge):
    images, labels = real(judge, "train", 1000)
    ones = judge.point(images[labels == 1], labels[labels == 1])
    assert ones["precision"] > 0.8
    assert ones["recall"] < 0.3
    assert ones["coverage"] < 0.3


def test_every_figure_is_inside_its_interval(judge):
    point = judge.point(*real(judge, "train"))
    assert set(point) == {f"{name}{end}" for name in POINTS for end in ("", "_low", "_high")} | {"images"}
    for name in POINTS:
        assert point[f"{name}_low"] <= point[name] <= point[f"{name}_high"], name
    for name in ("precision", "recall", "coverage", "memorised", "accuracy"):
        assert point[f"{name}_low"] >= 0
        assert point[f"{name}_high"] <= 1
    assert point["frechet_low"] < point["frechet_high"]
    assert point["recall_low"] < point["recall_high"]


def test_pictures_are_judged_as_they_would_be_saved(judge):
    images, labels = real(judge, "train")
    between = images + (torch.rand(images.shape, generator=torch.Generator().manual_seed(0)) - 0.5) * 0.9 / 127.5
    assert judge.point(between, labels) == judge.point(images, labels)


def test_the_same_again_by_another_judge(judge, folder):
    images, labels = real(judge, "train")
    again = Judge(SETTINGS, prepared(), folder)
    assert again.floor == judge.floor
    assert again.protocol == judge.protocol
    assert again.point(images, labels) == judge.point(images, labels)


def test_nothing_asked_for_gives_no_accuracy(judge):
    assert "accuracy" not in judge.point(real(judge, "train")[0])


def test_the_protocol_says_what_figures_depend_on(judge):
    protocol = judge.protocol
    assert protocol["floor"] == judge.floor
    assert (protocol["samples"], protocol["held_out"], protocol["training"]) == (120, 359, 1438)
    assert protocol["neighbours"] == {"precision_recall": 3, "density_coverage": 5}
    assert "uint8" in protocol["preprocessing"]
    assert protocol["too_wide"].startswith("intervals of the Fréchet distance are too wide"), (
        "120 pictures, 32 features"
    )
    assert judge.held_out["accuracy"] > 0.9

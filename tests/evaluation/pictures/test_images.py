import re
from pathlib import Path

import pytest
import torch
from PIL import Image

from stepladder import history
from stepladder.diffusion.processes.processes import process_of
from stepladder.diffusion.samplers.samplers import SAMPLERS
from stepladder.diffusion.sampling.drawing import load
from stepladder.diffusion.training import task as diffusion
from stepladder.errors import UserError
from stepladder.evaluation import feature_task
from stepladder.evaluation.pictures.images import evaluate, points
from stepladder.evaluation.pictures.judging import Judge
from stepladder.metrics.pictures import POINTS, ByTime, Likelihood, PictureMetrics, Point, Protocol
from stepladder.params import Sampling
from tests.digits import params, prepared, save, trained, without_classes

SWEEP = {"timesteps": [5, 20], "sampling_steps": [2, 5, 10]}
EVALUATION = {"samples": 60, "bootstrap": 20}
JUDGED = ("frechet", "kid", "precision", "recall", "density", "coverage", "memorised", "nearest_ratio")
SAMPLING = {"sampler", "spacing", "variance", "guidance_scale", "classifier_scale"}
POINT = {"timesteps", "sampling_steps", "milliseconds_per_image", "network_evaluations", "images"} | SAMPLING
POINT |= {f"{name}{end}" for name in JUDGED for end in ("", "_low", "_high")}
ACCURACY = {"accuracy", "accuracy_low", "accuracy_high"}


def settings(**more):
    return params(sweep=SWEEP, evaluation=EVALUATION, **more)


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """The digits' feature network, a T=5 and a T=20 model of few steps, and what judging the first one left."""
    folder = tmp_path_factory.mktemp("project")
    torch.manual_seed(0)
    save(trained(feature_task.experiment(params(), prepared()), 60), folder / "feature-net")
    save(trained(diffusion.experiment(params(), prepared(), timesteps=5), 30), folder / "T5")
    out = folder / "reports" / "T5"
    metrics = evaluate(settings(), 5, prepared(), folder / "feature-net", folder / "T5", out)
    return folder, out, metrics


def test_writes_what_it_says_and_nothing_else(judged):
    _, out, metrics = judged
    assert {file.name for file in out.iterdir()} == {"metrics.json", "points.json", "samples-S2.png", "samples-S5.png"}
    assert history.read(out / "metrics.json") == metrics
    assert history.read(out / "points.json") == metrics["points"]
    assert Image.open(out / "samples-S2.png").size == (10 * 9 * 5 + 5, 4 * 9 * 5 + 5)


def test_no_more_sampling_steps_than_timesteps(judged):
    assert [point["sampling_steps"] for point in judged[2]["points"]] == [2, 5]


def test_points_have_the_figures_and_their_intervals(judged):
    _, _, metrics = judged
    assert metrics["timesteps"] == 5
    assert metrics["best"] in metrics["points"]
    for point in metrics["points"]:
        assert set(point) == POINT | ACCURACY
        assert point["timesteps"] == 5
        assert point["images"] == 60
        for figure in ("frechet", "kid", "accuracy"):
            assert point[f"{figure}_low"] <= point[figure] <= point[f"{figure}_high"]
        assert point["milliseconds_per_image"] > 0
        assert point["network_evaluations"] == point["sampling_steps"]
        assert point["sampler"] == "ancestral"


def test_the_floor_is_below_a_model_of_few_steps(judged):
    _, _, metrics = judged
    assert metrics["floor"]["images"] == 60
    assert 0 < metrics["floor"]["frechet"] < metrics["best"]["frechet"]
    assert abs(metrics["floor"]["kid"]) < metrics["best"]["kid"]
    assert metrics["held_out"]["accuracy"] > 0.9


def test_the_protocol_stands_beside_the_figures(judged):
    _, _, metrics = judged
    assert metrics["protocol"]["samples"] == 60
    assert metrics["protocol"]["floor"] == metrics["floor"]
    assert metrics["features"] == metrics["protocol"]["features"] == "this data's feature network"


def test_bits_a_dimension_and_the_loss_by_time_once_a_model(judged):
    found = judged[2]["likelihood"]
    assert found["steps"] == 5
    assert found["images"] == found["by_time"]["images"] == 64
    assert found["bits_per_dim_low"] <= found["bits_per_dim"] <= found["bits_per_dim_high"]


def test_types_have_the_keys_that_there_are(judged):
    _, _, metrics = judged
    bound = metrics["likelihood"]
    for found, kind in ((bound, Likelihood), (bound["by_time"], ByTime), (metrics["protocol"], Protocol)):
        assert found.keys() == kind.__annotations__.keys()
    assert metrics.keys() <= PictureMetrics.__annotations__.keys()
    assert set(POINTS) <= Point.__annotations__.keys()


def test_several_samplings(judged):
    folder, _, metrics = judged
    samplings = [Sampling(), Sampling(sampler="ddim", spacing="leading", guidance_scale=1.5)]
    out = folder / "several"
    found = evaluate(settings(), 5, prepared(), folder / "feature-net", folder / "T5", out, samplings)["points"]
    assert [(p["sampler"], p["spacing"], p["guidance_scale"], p["sampling_steps"]) for p in found] == [
        ("ancestral", "trailing", 1, 2), ("ancestral", "trailing", 1, 5), ("ddim", "leading", 1.5, 2), ("ddim", "leading", 1.5, 5)
    ]  # fmt: skip
    assert [p["network_evaluations"] for p in found] == [2, 5, 4, 10]
    assert [p["frechet"] for p in found[:2]] == [p["frechet"] for p in metrics["points"]]
    assert {"samples-S5.png", "samples-1-S5.png"} <= {file.name for file in out.iterdir()}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_network_evaluations_are_those_that_the_sampler_says(judged, sampler):
    folder, _, _ = judged
    judge = Judge(settings(), prepared(), folder / "feature-net")
    found = points(*load(folder / "T5"), judge, Sampling(sampler=sampler), [2, 5, 10])
    process = process_of(load(folder / "T5")[1])
    assert [(p["sampling_steps"], p["network_evaluations"]) for p, _ in found] == [
        (steps, SAMPLERS[sampler].evaluations(process.levels(steps), process)) for steps in (2, 5)
    ]


def test_the_example_on_the_page_runs(judged, capsys):
    folder, _, metrics = judged
    (code,) = re.findall(r"```python\n(.*?)```", Path("docs/evaluation.md").read_text(encoding="utf-8"), re.DOTALL)
    for written, here in (("data/images", prepared()), ("models/feature-net", folder / "feature-net")):
        code = code.replace(written, str(here))
    code = code.replace("models/diffusion/T200", str(folder / "T5")).replace("load_params()", "settings()")
    exec(code, {"settings": settings})
    first, second = capsys.readouterr().out.splitlines()
    assert first.split()[:3] == ["ancestral", "5", str(metrics["points"][1]["frechet"])]
    assert second.startswith("ddim 5 ")


def test_the_same_again_and_what_was_there_goes(judged):
    folder, _, metrics = judged
    out = folder / "again"
    out.mkdir()
    (out / "samples-S99.png").touch()
    again = evaluate(settings(), 5, prepared(), folder / "feature-net", folder / "T5", out)
    assert not (out / "samples-S99.png").exists()
    for point in again["points"] + metrics["points"]:
        point.pop("milliseconds_per_image", None)
    assert again["points"] == metrics["points"]


def test_data_without_classes_is_judged_without_accuracy(tmp_path):
    data = without_classes(tmp_path / "images")
    save(trained(feature_task.experiment(params(), data), 2), tmp_path / "feature-net")
    save(diffusion.experiment(params(), data, timesteps=5), tmp_path / "T5")
    metrics = evaluate(settings(), 5, data, tmp_path / "feature-net", tmp_path / "T5", tmp_path / "out")
    assert metrics["held_out"]["accuracy"] is None
    assert all(set(point) == POINT for point in metrics["points"])


def test_a_model_of_another_number_of_timesteps_is_refused(judged):
    folder, _, _ = judged
    with pytest.raises(UserError, match="holds a model of T=5, not of T=20"):
        evaluate(settings(), 20, prepared(), folder / "feature-net", folder / "T5", folder / "refused")
    assert not (folder / "refused").exists()


def test_a_model_that_diverged_is_refused(judged, tmp_path):
    folder, _, _ = judged
    broken = diffusion.experiment(params(), prepared(), timesteps=5)
    torch.nn.init.constant_(broken.task.model.head.bias, float("nan"))
    save(broken, tmp_path / "T5")
    with pytest.raises(UserError, match="not numbers at S=2: its training diverged"):
        evaluate(settings(), 5, prepared(), folder / "feature-net", tmp_path / "T5", tmp_path / "out")

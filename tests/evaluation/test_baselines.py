import pytest
import torch
from PIL import Image

from stepladder import history
from stepladder.baselines import vae
from stepladder.errors import UserError
from stepladder.evaluation import feature_task
from stepladder.evaluation.baselines import evaluate
from tests.digits import params, prepared, save, trained

SETTINGS = params(evaluation={"samples": 60, "bootstrap": 20})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    torch.manual_seed(0)
    save(trained(feature_task.experiment(params(), prepared()), 60), folder / "feature-net")
    save(vae.experiment(params(), prepared()), folder / "vae")
    return folder


def test_one_point_by_the_same_protocol(folder):
    metrics = evaluate(SETTINGS, "vae", prepared(), folder / "feature-net", folder / "vae", folder / "out")
    assert history.read(folder / "out" / "metrics.json") == metrics
    assert {file.name for file in (folder / "out").iterdir()} == {"metrics.json", "samples.png"}
    assert Image.open(folder / "out" / "samples.png").size == (10 * 9 * 5 + 5, 4 * 9 * 5 + 5)
    point = metrics["point"]
    assert point["images"] == 60
    assert point["network_evaluations"] == 1
    assert point["frechet"] > metrics["floor"]["frechet"] > 0
    assert {"precision", "recall", "density", "coverage", "memorised", "accuracy", "milliseconds_per_image"} <= set(
        point
    )
    assert metrics["protocol"]["samples"] == 60


def test_another_family_is_refused(folder):
    with pytest.raises(UserError, match="family vae, not gan"):
        evaluate(SETTINGS, "gan", prepared(), folder / "feature-net", folder / "vae", folder / "refused")
    assert not (folder / "refused").exists()

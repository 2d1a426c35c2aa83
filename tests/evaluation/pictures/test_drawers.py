"""Several devices draw what one does."""

import os
import signal

import psutil
import pytest
import torch

from stepladder.diffusion.sampling.drawing import draw, load
from stepladder.diffusion.training import task as diffusion
from stepladder.errors import UserError
from stepladder.evaluation import feature_task
from stepladder.evaluation.pictures import drawers
from stepladder.evaluation.pictures.images import evaluate
from stepladder.params import Sampling
from tests.digits import params, prepared, save, trained


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    torch.manual_seed(0)
    save(trained(feature_task.experiment(params(), prepared()), 20), folder / "feature-net")
    save(trained(diffusion.experiment(params(), prepared(), timesteps=5), 10), folder / "T5")
    return folder


def test_a_part_of_the_pictures_is_as_in_the_whole(folder):
    model, config = load(folder / "T5")
    labels = torch.arange(6)
    whole = draw(model, config, {"labels": labels}, 3, Sampling(), seed=1, batch_size=2)
    part = draw(model, config, {"labels": labels[2:4]}, 3, Sampling(), seed=1, first=2)
    assert torch.equal(part, whole[2:4])


def test_two_devices_have_the_figures_of_one(folder):
    settings = params(sweep={"timesteps": [5], "sampling_steps": [2, 5]}, evaluation={"samples": 61, "bootstrap": 20})
    one, two = (
        evaluate(
            settings, 5, prepared(), folder / "feature-net", folder / "T5", folder / f"on-{n}", devices=n,
            samplings=[Sampling(), Sampling(sampler="ddim")],
        )
        for n in (1, 2)
    )  # fmt: skip
    for metrics in (one, two):
        for point in (*metrics["points"], metrics["best"]):
            assert point.pop("milliseconds_per_image", 1) > 0
    assert len(one["points"]) == 4
    assert one == two
    for name in ("samples-S2.png", "samples-1-S5.png"):
        assert (folder / "on-1" / name).read_bytes() == (folder / "on-2" / name).read_bytes()


def test_a_killed_process_is_one_sentence(folder):
    asked = {"labels": torch.zeros(16, dtype=torch.int64)}
    with drawers.parallel_sampler(2, folder / "T5", seed=0) as drawer:
        drawer(asked, 2, Sampling())
        drawing = [p for p in psutil.Process().children() if "spawn_main" in " ".join(p.cmdline())]
        os.kill(drawing[0].pid, signal.SIGKILL)
        with pytest.raises(UserError, match="ended from outside"):
            [drawer(asked, 5, Sampling()) for _ in range(100)]

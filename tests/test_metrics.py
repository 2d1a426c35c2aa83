"""Every figure is declared once: who makes, shows, tracks or is told which way is better has the same ones."""

import re
from pathlib import Path

import pytest
import yaml

from stepladder.metrics.every import COSTS, METRICS, OF
from stepladder.metrics.pictures import PICTURES, POINTS, SUPPORT
from stepladder.metrics.texts import FIGURES, JUDGED
from stepladder.reporting.comparison import PLOTTED
from stepladder.sweeps.spec import Sweep
from stepladder.text_tasks.tasks import FORMS
from stepladder.tracking import evaluations
from stepladder.training.best import HIGHER

RATES = {"diffusion": "diffusion.training.learning_rate", "vae": "vae.training.learning_rate"}
RATES["transformer"] = "transformer.training.learning_rate"


def test_each_is_declared_in_one_place() -> None:
    assert set(METRICS) == set(PICTURES) | set(FIGURES) | set(COSTS)
    assert set(PICTURES) & set(FIGURES) == {"accuracy"}
    assert PICTURES["accuracy"] is FIGURES["accuracy"]


def test_early_stopping_knows_which_way_is_better() -> None:
    assert {name: METRICS[name].better == 1 for name in HIGHER} == HIGHER


def test_plots_show_what_there_is() -> None:
    plots = yaml.safe_load(Path("dvc.yaml").read_text())["plots"]
    drawn = [
        y for plot in plots for entry in plot.values() for file, y in entry["y"].items() if file.endswith("sweep.json")
    ]
    assert drawn
    assert set(drawn) <= set(PLOTTED)
    assert set(SUPPORT) <= set(drawn)
    assert set(POINTS) <= set(PLOTTED)


def test_all_of_an_evaluation_is_tracked() -> None:
    assert set(POINTS) <= set(evaluations.POINT)
    assert set(JUDGED) <= set(evaluations.TEXT)
    assert set(evaluations.SWEEP) <= set(METRICS)


@pytest.mark.parametrize("family", ["diffusion", "vae", "transformer"])
def test_a_sweep_decides_by_those_of_its_kind_the_way_that_is_better(family: str) -> None:
    kinds = FORMS if family == "transformer" else ["images"]
    base = {"family": family, "space": {RATES[family]: [0.1, 0.2]}, "timesteps": 4}
    for name, metric in METRICS.items():
        if any(name in OF[kind] for kind in kinds) and metric.judged:
            assert Sweep(**base, metric=name).sign == metric.better
        else:
            with pytest.raises(ValueError, match=re.escape(f"family {family} has none of that name")):
                Sweep(**base, metric=name)
    for name, better in (("loss", -1), ("bleu", 1), ("accuracy", 1), ("bound", -1)):
        assert Sweep(**base, metric=f"validation/{name}").sign == better

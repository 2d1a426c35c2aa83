"""Optuna on a closed form in place of trainings: the study, its pruning and its resumption."""

import math

import optuna
import pytest
import yaml

from stepladder.params import Params, render
from stepladder.studies.results import Figure
from stepladder.sweeps import search, spec
from stepladder.sweeps.results import Row

RATE, WIDTH = "diffusion.training.learning_rate", "diffusion.unet.channels"


@pytest.fixture
def made(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text(render(Params()))
    (tmp_path / "sweeps" / "made").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(search.STORAGE, raising=False)

    def read(**changes):
        values = {
            "method": "optuna", "timesteps": 10, "trials": 12,
            "space": {RATE: {"log": [1e-4, 1]}, WIDTH: [8, 16], "diffusion.training.warmup_steps": {"uniform": [0, 9]}},
            "prune": {"by": "none"},
        }  # fmt: skip
        (spec.FOLDER / "made.yaml").write_text(yaml.safe_dump(values | changes))
        return spec.read("made")

    return read


def loss(point):
    return (math.log10(point[RATE]) + 2) ** 2 + (point[WIDTH] == 8)


def trials():
    return search.open_study("made", spec.read("made")).get_trials()


def row(point, value):
    return Row(point, Figure({0: value}, value))


def test_trials_go_where_the_loss_is_small_and_stay_within_the_space(made):
    asked = []

    def make(point, prune):
        asked.append(point)
        return row(point, loss(point))

    search.run("made", made(trials=30), 1, make)  # at once, their order would be chance
    assert len(asked) == 30
    assert all(
        1e-4 <= p[RATE] <= 1 and p[WIDTH] in (8, 16) and p["diffusion.training.warmup_steps"] in range(10)
        for p in asked
    )
    late = [loss(point) for point in asked[20:]]
    assert sorted(late)[5] < sorted(loss(point) for point in asked[:10])[5]
    search.run("made", made(trials=40), 2, make)
    assert len(asked) == 40, "it goes on, two at once"
    search.run("made", made(trials=40), 2, make)
    assert len(asked) == 40, "there is nothing left to do"


def test_a_trial_that_was_killed_is_made_first_with_its_own_point(made):
    asked = []

    def killed(point, prune):
        asked.append(point)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return row(point, loss(point))

    with pytest.raises(KeyboardInterrupt):
        search.run("made", made(trials=5), 1, killed)
    search.run("made", made(trials=5), 1, lambda point, prune: asked.append(point) or row(point, loss(point)))
    assert asked[3] == asked[2]
    assert all(asked.count(point) == 1 for point in asked[4:]), "no point is drawn twice"
    assert [t.state for t in trials()] == [optuna.trial.TrialState.COMPLETE] * 5


@pytest.mark.parametrize(
    "prune", [{"by": "median", "startup_trials": 2, "warmup": 0}, {"by": "successive_halving", "warmup": 1}]
)
@pytest.mark.parametrize("metric", ["validation/loss", "accuracy"])
def test_what_validates_worse_is_pruned_whichever_way_the_metric_is_better(made, prune, metric):
    """Trials of even number have a loss of 1, the others of 100 at every validation."""
    ended = []

    def make(point, may_end):
        bad = len(ended) % 2
        for validations in range(1, 5):
            if may_end([100.0 if bad else 1.0] * validations):
                ended.append("pruned")
                return "worse"
        ended.append("whole")
        value = 0.1 if bad else 0.9
        return row(point, value if metric == "accuracy" else 1 - value)

    search.run("made", made(trials=8, prune=prune, metric=metric), 1, make)
    assert ended[::2] == ["whole"] * 4
    assert ended[3::2] == ["pruned"] * 3
    states = [t.state.name for t in trials()]
    assert states == ["PRUNED" if e == "pruned" else "COMPLETE" for e in ended]


def test_a_failed_point_fails_its_trial_and_the_rest_go_on(made):
    def make(point, prune):
        bad = len(trials()) == 2
        return Row(point, Figure({0: None}), unfinished={0: "failed: diverged"}) if bad else row(point, 1.0)

    search.run("made", made(trials=4), 1, make)
    assert [t.state.name for t in trials()] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]


def test_impossible_combinations_fail_alone(made):
    sweep = made(trials=6, space={WIDTH: [8, 9, 16]}, base={"diffusion.unet.heads": 4})
    search.run("made", sweep, 1, lambda point, prune: row(point, 1.0))
    assert {t.params[WIDTH]: t.state.name for t in trials()}.get("9", "FAIL") == "FAIL"
    assert len(trials()) == 6


def test_any_database_by_its_address(made, tmp_path, monkeypatch):
    monkeypatch.setenv(search.STORAGE, f"sqlite:///{tmp_path}/elsewhere.db")
    search.run("made", made(trials=1), 1, lambda point, prune: row(point, 1.0))
    assert (tmp_path / "elsewhere.db").exists()
    monkeypatch.setenv(search.STORAGE, "sqlite:////no/such/folder/x.db")
    with pytest.raises(search.UserError, match="Optuna's database cannot be used"):
        search.open_study("made", spec.read("made"))

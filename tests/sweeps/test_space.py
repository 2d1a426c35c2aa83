import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stepladder.errors import UserError
from stepladder.params import Params, render
from stepladder.sweeps import space, spec
from stepladder.sweeps.checking import check_point
from stepladder.sweeps.space import Dimension
from tests.transformer import texts

RATE, WIDTH = "diffusion.training.learning_rate", "diffusion.unet.channels"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text(render(Params()))
    (tmp_path / "sweeps").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(**values):
    written = {"timesteps": 10, "space": {RATE: [0.001, 0.01]}} | values
    (spec.FOLDER / "made.yaml").write_text(yaml.safe_dump(written, sort_keys=False))
    return spec.read("made")


def test_a_grid_is_every_combination_timesteps_among_them():
    sweep = read(space={"timesteps": [4, 10], RATE: {"log": [0.001, 0.1], "count": 3}})
    points = [(p["timesteps"], p[RATE]) for p in sweep.points()]
    assert points == [(4, 0.001), (4, 0.01), (4, 0.1), (10, 0.001), (10, 0.01), (10, 0.1)]
    params = sweep.params(sweep.points()[3], seed=7)
    assert (params.seed, params.sweep.timesteps, params.diffusion.training.learning_rate) == (7, (10,), 0.001)


def test_random_points_are_a_function_of_the_seed_and_their_number():
    asked = {
        "method": "random",
        "space": {RATE: {"log": [0.0001, 0.01]}, WIDTH: {"uniform": [8, 64], "step": 4}, "timesteps": [5, 50]},
    }
    three, five = (read(trials=n, seed=1, **asked) for n in (3, 5))
    assert three.points() == five.points()[:3]
    assert three.points() != read(trials=3, seed=2, **asked).points()
    for point in five.points():
        assert 0.0001 <= point[RATE] <= 0.01
        assert point[WIDTH] in range(8, 65, 4)
        assert point["timesteps"] in (5, 50)


@given(st.floats(0, 1), st.booleans(), st.booleans(), st.floats(0.001, 100), st.floats(0.1, 1000))
def test_every_share_of_a_range_is_in_it(share, log, integer, low, more):
    low, high = (math.ceil(low), math.ceil(low) + math.ceil(more)) if integer else (low, low + more)
    value = Dimension("any", low=low, high=high, log=log, integer=integer).at(share)
    assert low <= value <= high
    assert isinstance(value, int if integer else float)


def test_a_point_has_one_identity_however_it_is_written():
    assert space.identity({"a": 1, "b": [2]}) == space.identity({"b": [2], "a": 1})
    assert space.label({RATE: 0.01, "timesteps": 50}) == "learning_rate=0.01, T=50"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"space": {"diffusion.training.learning_rat": [0.1]}}, "did you mean diffusion.training.learning_rate"),
        ({"space": {RATE: [0.1, 5]}}, "learning_rate: input should be less than or equal to 1 .given: 5."),
        ({"space": {RATE: {"log": [0.001, 3]}, "timesteps": [4]}, "method": "optuna"}, "less than or equal to 1 .given: 3"),
        ({"space": {"timesteps": [0, 10]}}, "timesteps: input should be greater than or equal to 1 .given: 0."),
        ({"space": {"diffusion.prediction": ["eps", "w"]}}, "diffusion.prediction: input should be 'eps', 'x0' or 'v'"),
        ({"space": {"diffusion.prediction": {"uniform": [0, 1]}}}, "is not a number; give a list"),
        ({"space": {RATE: {"log": [0.1, 0.01]}}}, "the lower end first"),
        ({"space": {RATE: {"log": [0.01, 0.1]}}}, "a grid needs to know how many values"),
        ({"space": {RATE: {"log": [0.01, 0.1], "step": 0.01, "count": 2}}}, "a step is of a uniform range"),
        ({"space": {"transformer.d_model": [96]}}, "does not change this family"),
        ({"space": {"seed": [1, 2]}}, "list seeds"),
        ({"space": {}}, "names no key"),
        ({"space": {WIDTH: [24, 25]}}, "not a multiple of heads"),
        ({"metric": "beauty"}, "metric=beauty: family diffusion has none of that name"),
        ({"seeds": [1, 1]}, "names one twice"),
        ({"timesteps": 0}, "a diffusion model has T = 1 or more"),
        ({"methods": "grid"}, "methods is not a parameter"),
        ({"family": "vae", "space": {"timesteps": [4]}}, "of diffusion models"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_the_key_and_what_is_allowed(changes, sentence):
    with pytest.raises(UserError, match=sentence) as refused:
        read(**changes)
    assert str(refused.value).startswith("sweeps/made.yaml")


def test_a_missing_sweep_names_those_that_there_are():
    read()
    with pytest.raises(UserError, match="no sweep 'other'; there are: made"):
        spec.read("other")


def test_which_way_is_better():
    assert read().sign == -1
    assert read(metric="accuracy").sign == 1
    assert read(metric="frechet").sign == -1
    assert read(metric="validation/loss", direction="maximize").sign == 1


def test_a_sweep_of_text_is_judged_by_what_models_of_its_task_have(here):
    rate = "transformer.training.learning_rate"
    data = texts.prepared(here, "pairs", "encoder_decoder")
    check_point(read(family="transformer", space={rate: [0.01]}, metric="chrf"), {rate: 0.01}, data, here)
    sweep = read(family="transformer", space={rate: [0.01]}, metric="macro_f1")
    with pytest.raises(UserError, match=r"text.task=pairs: macro_f1 is not measured here; there are: .*chrf"):
        check_point(sweep, {rate: 0.01}, data, here)

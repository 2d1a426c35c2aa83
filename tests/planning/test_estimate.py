import shutil
from pathlib import Path

import pytest

from stepladder.launching import trial
from stepladder.launching.trial import Cost
from stepladder.params import build
from stepladder.planning.estimate import Estimate, duration, estimate, summary
from stepladder.planning.work import Piece, Training
from stepladder.training.families import FAMILIES
from tests import digits

TINY = {
    "diffusion": {
        "unet": {"channels": 8, "heads": 2},
        "training": {"steps": 500, "batch_size": 8, "validate_every": 200},
    }
}


def training(done: int = 0, **more) -> Training:
    return Training("diffusion", build(TINY | more), Path("data/images"), 10, done)


def test_the_sums_are_of_what_is_left():
    cost = Cost(around=5, step=0.1, validation=2, memory=10**9, gpu_memory=0, checkpoint=10**7, model=10**6)
    pieces = [
        Piece("a", "runs", training=training()),
        Piece("b", "resumes", "from step 400 of 500", training(400)),
        Piece("c", "up to date"),
    ]
    found = Estimate({trial.cost_key("diffusion", training().params, 10): cost}, {})
    assert found.of(training()) == pytest.approx(5 + 50 + 2 * 2)
    assert found.of(training(400)) == pytest.approx(5 + 10)
    one, two = summary(pieces, found, 1), summary(pieces, found, 2)
    assert one[0] == "a  runs, about 59 s"
    assert one[1] == "b  resumes, about 15 s (from step 400 of 500)"
    assert one[4] == "3 in all: 1 runs, 1 resumes, 1 up to date"
    assert one[5].startswith("2 trainings: about 1 min 14 s")
    assert two[5].startswith("2 trainings: about 59 s with 2 at once")
    assert two[6] == "memory 2.00 GB; disk 2.0 MB for models, at most 40.0 MB for checkpoints meanwhile"
    assert not any("training" in line for line in summary(pieces, None, 1))


def test_what_costs_the_same_a_step_is_tried_once():
    rate = {
        "diffusion": {**TINY["diffusion"], "training": {"steps": 9, "batch_size": 8, "learning_rate": 0.1}},
        "seed": 4,
    }
    wider = {"diffusion": {**TINY["diffusion"], "unet": {"channels": 16, "heads": 2}}}
    assert trial.cost_key("diffusion", build(TINY), 10) == trial.cost_key("diffusion", build(rate), 10)
    assert trial.cost_key("diffusion", build(TINY), 10) != trial.cost_key("diffusion", build(wider), 10)
    assert trial.cost_key("diffusion", build(TINY), 10) != trial.cost_key("diffusion", build(TINY), 50)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_trial_of_any_family_is_short(family, method):
    params = build({"adaptation": {"method": method}})
    settings, usual = (FAMILIES[family].training(p) for p in (trial._short(family, params), params))
    assert settings.steps == trial.STEPS
    derived = (
        "steps",
        "validate_every",
        *(["warmup_steps"] if family == "feature-net" else []),
    )  # whose warm-up is a share
    assert settings.model_copy(update={key: getattr(usual, key) for key in derived}) == usual


def test_durations():
    assert [duration(s) for s in (3.2, 130, 7260)] == ["about 3 s", "about 2 min 10 s", "about 2 h 1 min"]


@pytest.mark.slow
def test_a_trial_of_a_real_training(tmp_path, monkeypatch):
    shutil.copytree(digits.prepared(), tmp_path / "data" / "images")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(trial.__file__).parents[2]))
    said: list[str] = []
    refused = Training("diffusion", build({"diffusion": {"unet": {"channel_mult": [1] * 5}}}), Path("data/images"), 4)
    absent = Training("transformer", build({}), Path("data/text"), None)
    pieces = [Piece(str(i), "runs", training=t) for i, t in enumerate((training(), training(), refused, absent))]
    found = estimate(pieces, said.append)
    assert len(said) == 2, "equal ones are tried once, one without data not at all"
    (cost,) = found.costs.values()
    assert cost.around > 0
    assert cost.step > 0
    assert cost.memory > 10**8
    assert cost.model > 4 * 10**4
    assert cost.checkpoint > 10**5
    assert any("cannot be halved 4 times" in why for why in found.unknown.values())
    assert any("data/text is not prepared" in why for why in found.unknown.values())
    assert not list(Path(".").glob(".checkpoints/*"))

"""A champion whose figures are of other held-out data is judged again, once; and what counts as failed is no champion."""

import json

import pytest

from stepladder.errors import UserError
from stepladder.params import Promotion
from stepladder.tracking import store
from stepladder.tracking.promotion import promote
from tests.tracking.test_promotion import LIMITS, NAME, champion, tags, versions  # noqa: F401

THEN, NOW = {"held_out_hash": "1" * 64, "judge": "1" * 16}, {"held_out_hash": "2" * 64, "judge": "2" * 16}


class Judge:
    """Finds ``values`` by version."""

    def __init__(self, **values: float) -> None:
        self.values, self.asked = values, []

    def mark(self, figure: str) -> str:
        assert figure == "frechet"
        return NOW["judge"]

    def metrics(self, model: str) -> dict:
        self.asked.append(model)
        value = self.values[f"v{model.rpartition('/')[2]}"]
        point = {"timesteps": 20, "sampling_steps": 2, "images": 720, "accuracy": 0.95}
        point |= {"frechet": value, "frechet_low": value - 0.01, "frechet_high": value + 0.01}
        return {"points": [point], "floor": {"frechet": 0.3}, "judged": {"held_out": "2" * 64, "by": "b" * 64}}


def test_after_new_data_the_champion_is_judged_again_once(versions):  # noqa: F811
    versions(tags(0.2, **THEN), tags(0.5, **NOW), tags(0.7, **NOW))
    promote(f"models:/{NAME}/1", LIMITS)
    judge = Judge(v1=0.9)
    worse = promote(f"models:/{NAME}/2", LIMITS)
    assert "was measured on other data than champion version 1's" in worse.why
    verdict = promote(f"models:/{NAME}/2", LIMITS, rejudge=judge)
    assert verdict.promoted
    assert verdict.why == (
        "champion: frechet 0.5 (0.49 to 0.51) against 0.9 (0.89 to 0.91) of version 1 judged again on the present held-out data"
    )
    assert judge.asked == [f"models:/{NAME}/1"]
    promote(f"models:/{NAME}/1", LIMITS, force=True, reason="to try the other")
    assert promote(f"models:/{NAME}/3", LIMITS, rejudge=judge).promoted
    assert judge.asked == [f"models:/{NAME}/1"], "its version keeps what was found"
    kept = store.client().get_model_version(NAME, "1").tags
    assert kept["frechet"] == "0.2"
    assert json.loads(kept[f"judged.{NOW['judge']}"])["frechet"] == "0.9"


def test_the_same_held_out_sentences_in_other_tokens_are_compared_as_they_are(versions):  # noqa: F811
    versions(tags(0.6, **NOW), tags(0.5, **NOW | {"data_hash": "c" * 64}))
    judge = Judge()
    assert promote(f"models:/{NAME}/1", LIMITS, rejudge=judge).promoted
    assert promote(f"models:/{NAME}/2", LIMITS, rejudge=judge).promoted
    assert judge.asked == []


def test_one_that_cannot_be_judged_stays_and_it_is_said_why(versions):  # noqa: F811
    versions(tags(0.6, **THEN), tags(0.5, **NOW))
    promote(f"models:/{NAME}/1", LIMITS)
    judge = Judge()

    def refuse(model: str) -> dict:
        raise UserError("It has other classes.")

    judge.metrics = refuse
    verdict = promote(f"models:/{NAME}/2", LIMITS, rejudge=judge)
    assert "cannot be judged again on the present data (It has other classes)" in verdict.why
    assert champion() == "1"


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        (tags(23.8, floor="1.27"), "poor: Frechet 18.7 times the floor, above 10"),
        (tags(0.5, floor="0.3", accuracy="0.4"), "collapsed: accuracy 0.40, below 0.80"),
        (tags(0.5, floor="0.3", coverage="0.3", floor_coverage="0.9"), "collapsed: coverage 0.30, below 0.45"),
        (
            {"figure": "chrf", "chrf": "0.0", "chrf_low": "0.0", "chrf_high": "0.1", "smaller_is_better": "false",
             "baseline": "0.2", "baseline_of": "copying the source", "data_hash": "a", "judged": "40 sentences"},
            "no skill: chrf 0 (0 to 0.1) is not better than copying the source, 0.2",
        ),
        (
            {"figure": "bits_per_character", "bits_per_character": "4", "smaller_is_better": "true", "baseline": "3.9",
             "baseline_of": "knowing how often each token occurs", "data_hash": "a", "judged": "9 characters"},
            "no skill: bits per character 4 (4 to 4) is not better than knowing how often each token occurs, 3.9",
        ),
    ],
)  # fmt: skip
def test_a_failed_model_is_no_champion_not_even_the_first(versions, figures, words):  # noqa: F811
    versions(figures)
    verdict = promote(f"models:/{NAME}/1", LIMITS)
    assert verdict.reasons == (f"it counts as failed ({words})",)
    assert not store.client().get_registered_model(NAME).aliases
    lenient = Promotion(floor_ratio=100, accuracy=0, coverage=0, above_baseline=False)
    assert promote(f"models:/{NAME}/1", lenient).promoted

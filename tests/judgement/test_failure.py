import math

import pytest

from stepladder.judgement.failure import failed, failed_text
from stepladder.params import Promotion

FLOOR = {"frechet": 0.2, "coverage": 0.96}
GOOD = {"frechet": 0.5, "coverage": 0.8, "accuracy": 0.97, "images": 720}


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, ""),
        ({"frechet": 2.0, "coverage": 0.48, "accuracy": 0.8}, ""),  # the bounds themselves
        ({"frechet": math.nan}, "diverged: frechet not finite"),
        ({"kid": math.inf, "coverage": 0.1}, "diverged: kid not finite"),
        ({"frechet": 2.1}, "poor: Frechet 10.5 times the floor, above 10"),
        ({"coverage": 0.47}, "collapsed: coverage 0.47, below 0.48"),
        ({"accuracy": 0.79}, "collapsed: accuracy 0.79, below 0.80"),
    ],
)
def test_the_reason(changed, why):
    assert failed(GOOD | changed, FLOOR) == why


def test_what_was_not_measured_is_not_judged():
    assert failed({"frechet": 1.0}, {"frechet": 0.2}) == ""
    assert failed({"frechet": 1.0, "coverage": 0.4}, {"frechet": 0.2}).startswith("collapsed")


def test_the_bounds_are_parameters():
    lenient = Promotion(floor_ratio=20, coverage=0, accuracy=0.1)
    assert failed({"frechet": 3.0, "coverage": 0.1, "accuracy": 0.2}, FLOOR, lenient) == ""
    assert failed({"frechet": 4.1}, FLOOR, lenient) == "poor: Frechet 20.5 times the floor, above 20"


PAIRS = {"chrf": 30.0, "chrf_low": 28.0, "chrf_high": 32.0, "copy": {"chrf": 0.5}, "exchanged": {"chrf": 12.0}}
LINES = {"task": "lines", "bits_per_character": 2.0, "bits_per_character_low": 1.9, "bits_per_character_high": 2.1}
LABELS = {"task": "labels", "accuracy": 0.8, "accuracy_low": 0.75, "accuracy_high": 0.85}
MASKED = {"task": "masked_lm", "loss": 3.0, "loss_low": 2.8, "loss_high": 3.2}


@pytest.mark.parametrize(
    ("metrics", "why"),
    [
        (PAIRS, ""),
        (
            PAIRS | {"exchanged": {"chrf": 28.0}},
            "chrf 30 (28 to 32) is not better than the references of other sentences, 28",
        ),
        (PAIRS | {"copy": {"chrf": 29.0}}, "is not better than copying the source, 29"),
        (PAIRS | {"copy": {"chrf": 29.0}, "rouge1": 40.0}, ""),  # a summary: the source is full of it
        (PAIRS | {"chrf": 0.0, "chrf_low": 0.0, "copy": {"chrf": 0.0}, "exchanged": {}}, "copying the source, 0"),
        (PAIRS | {"chrf": math.nan}, "diverged: chrf not finite"),
        (LINES | {"unigram_bits_per_character": 2.2}, ""),
        (LINES | {"unigram_bits_per_character": 2.1}, "is not better than knowing how often each token occurs, 2.1"),
        (LABELS | {"majority": {"accuracy": 0.7}}, ""),
        (LABELS | {"majority": {"accuracy": 0.75}}, "is not better than always saying the commonest class, 0.75"),
        (MASKED | {"unigram_loss": 3.3}, ""),
        (
            MASKED | {"unigram_loss": 3.1},
            "loss 3 (2.8 to 3.2) is not better than knowing how often each token occurs, 3.1",
        ),
        (LINES, ""),  # what was not measured is not judged
    ],
)
def test_text_is_to_be_better_than_what_has_learned_nothing(metrics, why):
    found = failed_text(metrics)
    assert (why in found) if why else not found
    assert failed_text(metrics, Promotion(above_baseline=False)) == (found if "diverged" in why else "")

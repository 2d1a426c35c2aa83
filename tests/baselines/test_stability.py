import math

import pytest

from stepladder.baselines.stability import failed

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

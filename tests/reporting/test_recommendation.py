import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepladder.reporting.recommendation import recommend, worse
from tests.reporting.synthetic import point

STEPS = st.sampled_from([1, 2, 5, 10, 50])
POINTS = st.dictionaries(
    st.tuples(st.sampled_from([10, 100, 1000]), STEPS),
    st.tuples(st.floats(0.01, 100), st.floats(0, 1), st.floats(0.01, 1)),
    min_size=1,
).map(
    lambda d: [point(t, s, f, a, frechet_low=f * (1 - w), frechet_high=f * (1 + w)) for (t, s), (f, a, w) in d.items()]
)


def where(found: Any) -> tuple[int, int]:
    return found["timesteps"], found["sampling_steps"]


@given(POINTS)
def test_the_recommended_point_is_near_faithful_and_the_cheapest_such(points: list[dict[str, Any]]) -> None:
    found = recommend(points)
    assert found is not None
    best = min(points, key=lambda p: p["frechet"])
    near = [p for p in points if p["frechet"] <= best["frechet_high"]]
    top = max(near, key=lambda p: p["accuracy"])
    good = [p for p in near if not worse(p, top, 0.95)]
    assert where(found) in [where(p) for p in good]
    assert found["sampling_steps"] == min(p["sampling_steps"] for p in good)


@given(POINTS, st.randoms(), st.floats(1e-3, 1e3))
def test_neither_order_nor_the_unit_of_distance_matters(
    points: list[dict[str, Any]], shuffler: random.Random, scale: float
) -> None:
    before = recommend(points)
    scale = 2.0 ** round(math.log2(scale))  # exact in floating point
    scaled = [p | {k: p[k] * scale for k in ("frechet", "frechet_low", "frechet_high")} for p in points]
    shuffler.shuffle(scaled)
    assert where(recommend(scaled)) == where(before)


@settings(max_examples=50)
@given(POINTS, st.integers(2, 10))
def test_more_pictures_never_make_a_less_accurate_point_acceptable(points: list[dict[str, Any]], times: int) -> None:
    more = [p | {"images": p["images"] * times} for p in points]
    for a, b in zip(points, more, strict=True):
        if worse(a, points[0], 0.95):
            assert worse(b, more[0], 0.95)


def test_fewest_steps_within_the_interval_of_the_best() -> None:
    points = [point(100, 1, 3.0), point(100, 5, 1.1), point(100, 50, 1.0)]
    found = recommend(points, floor=0.8)
    assert where(found) == (100, 5)
    assert found is not None
    assert found["frechet_over_floor"] == pytest.approx(1.375)
    assert "1.1 (1.38 times the real-against-real floor of 0.8)" in found["why"]
    assert "1 at T=100, S=50" in found["why"]
    assert "T=100, S=1, has 3" in found["why"]


def test_a_near_point_that_draws_the_wrong_classes_is_passed_over() -> None:
    points = [point(100, 5, 1.1, 0.80), point(100, 50, 1.0, 0.98)]
    found = recommend(points)
    assert where(found) == (100, 50)
    assert found is not None
    assert "only 80.0%" in found["why"]


def test_an_accurate_point_that_is_far_is_not_recommended() -> None:
    assert where(recommend([point(10, 1, 9.0, 1.0), point(10, 10, 1.0, 0.95)])) == (10, 10)


def test_equal_points_give_the_fewest_steps_and_then_the_smallest_t() -> None:
    points = [point(t, s, 1.0) for t in (1000, 10, 100) for s in (10, 2, 5)]
    assert where(recommend(points)) == (10, 2)


def test_among_equal_steps_the_nearer() -> None:
    assert where(recommend([point(10, 5, 1.05), point(100, 5, 1.02), point(100, 50, 1.0)])) == (100, 5)


def test_one_point() -> None:
    found = recommend([point(7, 3, 2.0)])
    assert where(found) == (7, 3)
    assert found is not None
    assert "no point with fewer" not in found["why"]


def test_without_classes_distance_alone_decides() -> None:
    found = recommend([point(100, 5, 1.1, None), point(100, 50, 1.0, None)])
    assert where(found) == (100, 5)
    assert found is not None
    assert "ccuracy" not in found["why"]


def test_points_that_are_not_finite_are_never_recommended() -> None:
    assert recommend([point(10, 1, math.nan), point(10, 2, math.inf)]) is None
    assert where(recommend([point(10, 1, math.nan), point(10, 2, 4.0)])) == (10, 2)


def test_the_test_of_two_proportions_against_a_worked_value() -> None:
    # 95 of 100 against 99 of 100: pooled 0.97, deviation 0.02412, z = 1.658, one-sided p = 0.0487.
    a, b = point(1, 1, 1, 0.95, images=100), point(1, 1, 1, 0.99, images=100)
    assert worse(a, b, 0.95)
    assert not worse(a, b, 0.96)
    assert not worse(b, a, 0.5001)


def test_points_that_failed_are_recommended_only_where_all_did() -> None:
    near = point(10, 1, 0.2, 0.5)
    far = point(10, 5, 1.0, 0.9)
    found = recommend([near, far], 0.1, failure=lambda p: "collapsed" if p["accuracy"] < 0.8 else "")
    assert where(found) == (10, 5)
    assert "failed" not in found
    none = recommend([near, far], 0.1, failure=lambda p: "poor")
    assert where(none) == where(recommend([near, far], 0.1))
    assert none["failed"] == "poor"
    assert none["why"].startswith("No point of this sweep passes; the least bad, T=10, S=1, counts as failed (poor).")

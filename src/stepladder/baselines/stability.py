"""When a training counts as failed: one criterion for every family, stated before anything is compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

WORST_FRECHET = 10.0  # times the floor's
LEAST_COVERAGE = 0.5  # of the floor's
LEAST_ACCURACY = 0.8


def failed(point: Mapping[str, Any], floor: Mapping[str, Any]) -> str:
    """Why a training counts as failed by the figures of its pictures, in a few words; empty where it does not.

    It failed where a figure is not a finite number (it diverged); where the Frechet distance is above ten times the
    floor's (it does not draw the data); where the coverage (Naeem et al. 2020), the share of real pictures that have a
    drawn one among their nearest, is below half of the floor's, or fewer than 80% of the pictures are of the class asked
    for (it collapsed: part of the data is not drawn). What was not measured is not judged.

    Args:
        point: ``frechet`` and, where measured, ``coverage`` and ``accuracy``.
        floor: ``frechet`` and, where measured, ``coverage``, of real pictures.
    """
    bad = [name for name, value in point.items() if isinstance(value, float) and not math.isfinite(value)]
    if bad:
        return f"diverged: {', '.join(bad)} not finite"
    if point["frechet"] > WORST_FRECHET * floor["frechet"]:
        return f"poor: Frechet {point['frechet'] / floor['frechet']:.1f} times the floor, above {WORST_FRECHET:g}"
    least = LEAST_COVERAGE * floor.get("coverage", 1.0)
    if point.get("coverage", 1.0) < least:
        return f"collapsed: coverage {point['coverage']:.2f}, below {least:.2f}"
    if point.get("accuracy", 1.0) < LEAST_ACCURACY:
        return f"collapsed: accuracy {point['accuracy']:.2f}, below {LEAST_ACCURACY:.2f}"
    return ""

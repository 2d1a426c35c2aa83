"""Which (T, S) to use: the fewest sampling steps without a measurable loss of quality.

The rule is the one-standard-error rule of Breiman et al., "Classification and Regression Trees" (1984), section 3.4.3,
with an interval in the place of the standard error and a second criterion:

1. *Near*: of all points, those whose Fréchet distance is at most the upper end of the interval of the smallest one.
   With this many pictures, what lies inside that interval cannot be distinguished from the best.
2. *Faithful*: of those, the ones whose accuracy is not significantly below the highest accuracy among them, by a
   one-sided two-proportion z-test at the intervals' confidence. The distance alone does not see that a picture shows
   another class than the requested one.
3. *Cheap*: of those, the fewest sampling steps S, which is the number of network evaluations a picture and does not
   depend on the machine. Among equal S the smaller distance, then the smaller T.

The order matters: accuracy chooses among points that are near, so that a model which draws a few flawless pictures of
each class over and over (accurate, far) is never recommended. Not significantly worse does not mean as good: fewer
pictures give wider intervals and a cheaper recommendation, and ``evaluation.samples`` is what to raise for a finer one.
The rule knows no target. How far the recommended point is above the real-against-real floor is reported with it. Points that
count as failed (``judgement.failure``) are chosen only where all do, and then with a warning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

from stepladder.metrics.pictures import Point
from stepladder.reporting.rows import Recommended


def recommend(
    points: Sequence[Point],
    floor: float | None = None,
    confidence: float = 0.95,
    failure: Callable[[Point], str] = lambda point: "",
) -> Recommended | None:
    """The recommended point with ``"why"`` (a sentence) and ``"frechet_over_floor"``; ``None`` without a finite point.

    ``floor`` is the distance of real pictures to real pictures. ``failure`` says why a point failed,
    "" where it did not. Where all failed, the recommended one has that as ``"failed"``.
    """
    candidates = sorted((p for p in points if math.isfinite(p["frechet"])), key=_cost)
    if not candidates:
        return None
    reasons = [failure(p) for p in candidates]
    finite = [p for p, reason in zip(candidates, reasons, strict=True) if not reason] or candidates
    best = min(finite, key=lambda p: (p["frechet"], p["sampling_steps"], p["timesteps"]))
    near = [p for p in finite if p["frechet"] <= max(best["frechet"], best["frechet_high"])]
    accurate = [p for p in near if _accuracy(p) is not None]
    most_accurate = max(accurate, key=lambda p: (p["accuracy"], *(-c for c in _cost(p)))) if accurate else None
    chosen = next(p for p in near if most_accurate is None or not worse(p, most_accurate, confidence))
    why = _why(chosen, best, near, most_accurate, candidates, floor, confidence)
    ratio = chosen["frechet"] / floor if floor else None
    recommended: Recommended = {**chosen, "frechet_over_floor": ratio, "why": why}
    if all(reasons):
        reason = reasons[candidates.index(chosen)]
        warning = f"No point of this sweep passes; the least bad, {name(chosen)}, counts as failed ({reason})."
        recommended |= {"failed": reason, "why": f"{warning} {why}"}
    return recommended


def worse(point: Point, reference: Point, confidence: float) -> bool:
    """Whether the accuracy of ``point`` is significantly below that of ``reference``.

    One-sided z-test of two proportions with the pooled variance (Fleiss, Levin and Paik, "Statistical Methods for Rates
    and Proportions", 3rd edition, chapter 3). A point that has no accuracy is worse than one that has.
    """
    a, b = _accuracy(point), _accuracy(reference)
    if b is None:
        return False
    if a is None:
        return True
    n, m = point["images"], reference["images"]
    pooled = (a * n + b * m) / (n + m)
    deviation = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return b - a > NormalDist().inv_cdf(confidence) * deviation + 1e-12


def name(point: Point) -> str:
    """``"T=200, S=10"``."""
    return f"T={point['timesteps']}, S={point['sampling_steps']}"


def _cost(point: Point) -> tuple[float, ...]:
    return point["sampling_steps"], point["frechet"], point["timesteps"]


def _accuracy(point: Point) -> float | None:
    value = point.get("accuracy")
    return value if value is not None and math.isfinite(value) else None


def _why(
    chosen: Point,
    best: Point,
    near: list[Point],
    most_accurate: Point | None,
    finite: list[Point],
    floor: float | None,
    confidence: float,
) -> str:
    distance = f"{chosen['frechet']:.3g}"
    if floor:
        distance += f" ({chosen['frechet'] / floor:.2f} times the real-against-real floor of {floor:.3g})"
    interval = f"the {confidence * 100:g}% interval [{best['frechet_low']:.3g}, {best['frechet_high']:.3g}]"
    if chosen is best:
        why = f"{name(chosen)} has the smallest Fréchet distance of the sweep, {distance}, with {interval}"
        if len(finite) > 1:
            why += ", and no point with fewer sampling steps is as good"
    else:
        why = (
            f"{name(chosen)} needs the fewest sampling steps of all points that cannot be told from the best: "
            f"its Fréchet distance {distance} is within {interval} "
            f"of the smallest, {best['frechet']:.3g} at {name(best)}"
        )
    if most_accurate is not None and chosen is most_accurate:
        why += f". Its accuracy {chosen['accuracy']:.1%} is the highest among the points as near"
    elif most_accurate is not None:
        why += (
            f". Its accuracy {chosen['accuracy']:.1%} is not significantly below {most_accurate['accuracy']:.1%}, "
            f"the highest among the points as near ({name(most_accurate)})"
        )
    return why + "." + _cheaper(chosen, near, finite)


def _cheaper(chosen: Point, near: list[Point], finite: list[Point]) -> str:
    fewer = [p for p in finite if p["sampling_steps"] < chosen["sampling_steps"]]
    refused = [p for p in fewer if p in near]
    if refused:
        next_one = min(refused, key=lambda p: p["frechet"])
        accuracy = _accuracy(next_one)
        accuracy_text = "unknown" if accuracy is None else f"only {accuracy:.1%}"
        return f" {name(next_one)} is as near, but its accuracy is {accuracy_text}."
    if fewer:
        next_one = min(fewer, key=lambda p: p["frechet"])
        return f" The best with fewer steps, {name(next_one)}, has {next_one['frechet']:.3g}."
    return ""

"""Sentences that the figures decide, each by a rule that the page states next to them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from scipy import stats

from stepladder.metrics.every import METRICS
from stepladder.metrics.numbers import of_metric
from stepladder.studies.possible import Point, side_text
from stepladder.studies.results import FEWEST, Figure, Row, as_good, best, best_of_each, cheapest_as_good, cost
from stepladder.studies.spec import Contrast, Study
from stepladder.values import Values

RULE = (
    "Rule: of each arm the way to draw with the best mean over the seeds; the best of these is named, and as good as it are "
    "those whose mean is no worse than the worse end of its interval. A measure is one figure of many: see the table."
)
CONTRAST_RULE = (
    "Rule: where several ways to draw fit a claim, that of the best mean stands for it. Better: the interval of the differences, "
    "seed by seed, excludes zero (Student's t; with fewer than three seeds every run's interval must lie apart from its "
    "counterpart's). As good: the mean is no worse than the worse end of the other's interval. Steadier: the spread of "
    "the logarithms between seeds is smaller, by the Brown–Forsythe test."
)


@dataclass(frozen=True)
class Claim:
    """A claim and its outcome: shown, not shown, the opposite, or not measured (a side has no figure)."""

    claim: str
    outcome: str
    why: str


def as_text(measure: str, figure: Figure | None) -> str:
    """``0.21 (0.19 to 0.23)``."""
    if figure is None or figure.mean is None:
        return "no figure"
    format_value = partial(of_metric, METRICS[measure])
    interval = f" ({format_value(figure.low)} to {format_value(figure.high)})" if figure.low != figure.high else ""
    return f"{format_value(figure.mean)}{interval}"


def verdict(study: Study, rows: Sequence[Row], floor: float | None) -> list[str]:
    """The result in a few sentences; the first names the best arm. Empty where nothing has been measured."""
    measure = study.measures[0]
    label, best_rows = METRICS[measure].label, best_of_each(study, rows, measure)
    top = best(list(best_rows.values()), measure)
    if top is None:
        return ["No arm has a figure that is a number."] if best_rows else []
    seeds = f"over {len(study.seeds)} seeds" if len(study.seeds) > 1 else "of one seed"
    against = ""
    if measure == "frechet" and floor:
        against = f", {(top.mean(measure) or 0.0) / floor:.2f} times the floor"
    sentences = [
        f"{top.called(measure)} has the best mean {label} {seeds}: {as_text(measure, top.figures[measure])}{against}."
    ]
    if len(best_rows) > 1:
        others = {arm: row for arm, row in best_rows.items() if row is not top}
        tied = [arm for arm, row in others.items() if as_good(row, top, measure)]
        not_as_good = [
            f"{arm} {as_text(measure, row.figures.get(measure))}" for arm, row in others.items() if arm not in tied
        ]
        sentences.append(f"As good by the rule: {', '.join(tied) or 'none of the others'}.")
        if not_as_good:
            sentences.append(f"Not as good: {'; '.join(not_as_good)}.")
    for sentence in (_failures(study, best_rows), _steadiness(best_rows, measure), _cheapest(rows, top, measure)):
        if sentence:
            sentences.append(sentence)
    return sentences


def claims(study: Study, rows: Sequence[Row]) -> list[Claim]:
    """The outcome of each claim of the study."""
    return [_decide(contrast, rows, contrast.measure or study.measures[0]) for contrast in study.contrasts]


def _failures(study: Study, best_rows: dict[str, Row]) -> str:
    failed = [f"{arm} {len(row.failures)} of {len(study.seeds)}" for arm, row in best_rows.items() if row.failures]
    if not failed:
        return "No seed of any arm failed." if len(study.seeds) > 1 else ""
    others = "" if len(failed) == len(best_rows) else "; none of the other arms"
    return f"Seeds that failed: {', '.join(failed)}{others}."


def _steadiness(best_rows: dict[str, Row], measure: str) -> str:
    spreads = {arm: s for arm, row in best_rows.items() if (s := spread(row, measure)) is not None}
    if len(spreads) < 2:
        return ""
    listed = ", ".join(f"{arm} {s:.0%}" for arm, s in sorted(spreads.items(), key=lambda item: item[1]))
    return f"Spread between seeds (standard deviation, in shares of the mean): {listed}."


def spread(row: Row, measure: str) -> float | None:
    """Standard deviation over the seeds, as a share of the mean; ``None`` with fewer than three seeds."""
    figure = row.figures.get(measure)
    if figure is None or figure.deviation is None or not figure.mean or len(figure.each) < FEWEST:
        return None
    return figure.deviation / abs(figure.mean)


def _cheapest(rows: Sequence[Row], top: Row, measure: str) -> str:
    measured = [row for row in rows if row.mean(measure) is not None]
    if METRICS[measure].of_model or len({cost(row)[0] for row in measured}) < 2:
        return ""
    chosen = cheapest_as_good(measured, top, measure)
    if chosen is top:
        return f"Nothing cheaper than {top.name} is as good as it."
    return (
        f"The cheapest that is as good is {chosen.name}: {as_text(measure, chosen.figures[measure])} with {cost(chosen)[0]:g} "
        f"network evaluations a picture instead of {cost(top)[0]:g}."
    )


def _decide(contrast: Contrast, rows: Sequence[Row], measure: str) -> Claim:
    this, other = (best(rows_of_side(rows, side), measure) for side in (contrast.this, contrast.against))
    if this is None or other is None:
        absent = " nor ".join(side_text(s) for s, r in ((contrast.this, this), (contrast.against, other)) if r is None)
        return Claim(contrast.claim, "not measured", f"There is no mean {METRICS[measure].label} of {absent}.")
    figures = (
        f"{METRICS[measure].label} of {this.called(measure)}: {as_text(measure, this.figures[measure])}; "
        f"of {other.called(measure)}: {as_text(measure, other.figures[measure])}."
    )
    if contrast.expect == "as_good":
        return Claim(contrast.claim, "shown" if as_good(this, other, measure) else "the opposite", figures)
    if contrast.expect == "steadier":
        outcome, more = compare_spreads(this.figures[measure], other.figures[measure])
    else:
        outcome, more = compare_means(this, other, measure)
    return Claim(contrast.claim, outcome, f"{figures} {more}")


def rows_of_side(rows: Sequence[Row], side: Values) -> list[Row]:
    """The rows that fit one side of a contrast."""
    return [row for row in rows if Point(row.arm, row.sampling, row.steps, row.timesteps).fits(side)]


def compare_means(this: Row, other: Row, measure: str, confidence: float = 0.95) -> tuple[str, str]:
    """Whether ``this`` is better than ``other``, and by how much, seed by seed."""
    sign, a, b = METRICS[measure].better, this.figures[measure], other.figures[measure]
    pairs = [(x, b.each[s]) for s, x in a.each.items() if x is not None and b.each.get(s) is not None]
    gains = [sign * (x - y) for x, y in pairs if y is not None]
    if len(gains) >= FEWEST:
        mean, deviation = statistics.fmean(gains), statistics.stdev(gains)
        half = float(stats.t.ppf((1 + confidence) / 2, len(gains) - 1)) * deviation / math.sqrt(len(gains))
        low, high = mean - half, mean + half
        explanation = f"Better by {mean:.3g} ({low:.3g} to {high:.3g}), seed by seed."
    elif None in (a.low, a.high, b.low, b.high):
        return "not shown", "Too few seeds, and no intervals of their own."
    else:
        ends = (a.low, a.high, b.low, b.high)
        al, ah, bl, bh = (float(end) for end in ends if end is not None)
        low, high = (bl - ah, bh - al) if sign < 0 else (al - bh, ah - bl)
        explanation = "Too few seeds for an interval of the difference: the runs' own are compared."
    return ("shown" if low > 0 else "the opposite" if high < 0 else "not shown"), explanation


def compare_spreads(this: Figure, other: Figure, level: float = 0.05) -> tuple[str, str]:
    """Whether the logarithms of ``this`` spread less between seeds: Brown and Forsythe (1974)."""
    a, b = ([math.log(v) for v in f.each.values() if v is not None and v > 0] for f in (this, other))
    if min(len(a), len(b)) < FEWEST:
        return "not shown", "Too few seeds for a test of spread."
    spreads = statistics.stdev(a), statistics.stdev(b)
    if spreads[0] == spreads[1] == 0:
        return "not shown", "Neither spreads at all."
    p = float(stats.levene(a, b, center="median").pvalue)
    explanation = f"Spread of the logarithms {spreads[0]:.2g} against {spreads[1]:.2g}, p = {p:.2g}."
    if not p < level:
        return "not shown", explanation
    return ("shown" if spreads[0] < spreads[1] else "the opposite"), explanation

"""The tables of a study's page: each arm, every way to draw, what it cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial

from stepladder.metrics.every import COSTS, METRICS
from stepladder.metrics.numbers import ABSENT, duration, of_metric
from stepladder.reporting.markup import Content, Markup, element, join, number, table
from stepladder.studies import results, verdicts
from stepladder.studies.results import Cell, Figure, Row, best_of_each
from stepladder.studies.spec import Study


def arms(study: Study, rows: Sequence[Row], floor: dict[str, float]) -> Markup:
    """Each arm in its best way to sample: mean, interval, smallest and largest value."""
    best_rows = best_of_each(study, rows, study.measures[0])
    cheaper = len(rows) > len(best_rows)
    way_heads = [] if study.of_text else ["best drawn by", "S", *(["cheapest as good"] if cheaper else []), "failed"]
    head: list[Content] = ["arm", *way_heads]
    head += [_head(m) for m in study.measures]
    body = []
    for arm, row in best_rows.items():
        failed = f"{len(row.failures)} of {len(study.seeds)}"
        why = "; ".join(f"seed {seed}: {reason}" for seed, reason in row.failures.items())
        about = element("small", f" {study.arms[arm].about}") if study.arms[arm].about else None
        how: list[Content] = [
            row.way,
            number(str(row.steps) if row.sampling else ABSENT),
            *([_cheapest(row, [r for r in rows if r.arm == arm], study.measures[0])] if cheaper else []),
            number(failed, title=why) if why else number(failed),
        ]
        figures = (_figure_cell(m, row.figures.get(m), study) for m in study.measures)
        body.append([element("th", arm, about, scope="row"), *([] if study.of_text else how), *figures])
    real: list[Content] = [element("td", "real against real", colspan=5 if cheaper else 4)]
    real += [number(of_metric(METRICS[m], floor[m]) if m in floor else ABSENT) for m in study.measures]
    note = element("p", f"Mean over {seeds(study)}, its interval, and the smallest and largest seed.", class_="note")
    return join([table(head, body, [] if study.of_text else [real], class_="wide dense"), note])


def every_way(study: Study, rows: Sequence[Row]) -> Markup:
    """Every way to sample from every arm, the best one marked; columns can be sorted."""
    names = [
        *study.measures,
        *(c for c in ("network_evaluations", "milliseconds_per_image") if c not in study.measures),
    ]
    top = results.best(rows, study.measures[0])
    head = [element("th", text, scope="col", data_fixed=True) for text in ("arm", "drawn by")]
    head += [element("th", text, scope="col", class_="number") for text in ("S", *(METRICS[m].label for m in names))]
    body = []
    for row in rows:
        cells: list[Content] = [element("td", row.arm), element("td", row.way), number(str(row.steps), row.steps)]
        cells += [
            number(verdicts.as_text(m, row.figures.get(m)) if row.mean(m) is not None else ABSENT, row.mean(m))
            for m in names
        ]
        body.append(element("tr", cells, class_="chosen" if row is top else None))
    html_table = element(
        "table", element("thead", element("tr", head)), element("tbody", body), class_="wide dense sortable"
    )
    return element("div", html_table, class_="scroll")


def cost(study: Study, rows: Sequence[Row], cells: Sequence[Cell]) -> Markup:
    """What each arm costs in its best way to sample, and how it was timed."""
    body = []
    for arm, row in best_of_each(study, rows, study.measures[0]).items():
        body.append([element("th", arm, scope="row"), *(_figure_cell(m, row.figures.get(m), study) for m in COSTS)])
    timing = {json.dumps(cell["timing"], sort_keys=True) for cell in cells}
    first = json.loads(next(iter(timing)))
    how = f"{first['threads']} thread{'s' if first['threads'] > 1 else ''} of {first['device']}, {_at_once(first['at_once'])}"
    mixed = "" if len(timing) == 1 else " Not all cells were timed alike, so times are not to be compared."
    training_seconds = sum(cell["training"].get("seconds") or 0.0 for cell in cells)
    note = f"Times are those of {how}.{mixed} Training of all cells together: {duration(training_seconds)}."
    return join(
        [table(["arm", *(_head(m) for m in COSTS)], body, class_="wide dense"), element("p", note, class_="note")]
    )


def seeds(study: Study) -> str:
    """How many seeds the study has, in words."""
    return "1 seed" if len(study.seeds) == 1 else f"{len(study.seeds)} seeds"


def _cheapest(row: Row, arm_rows: Sequence[Row], measure: str) -> Content:
    """The cheapest way to sample from an arm that is as good as its best way, ``row``."""
    if row.mean(measure) is None:
        return ABSENT
    cheapest = results.cheapest_as_good(arm_rows, row, measure)
    return f"{cheapest.way}, S={cheapest.steps}" if cheapest.sampling else cheapest.way


def _head(measure: str) -> Markup:
    arrow = "↓" if METRICS[measure].better < 0 else "↑"
    return element("th", f"{METRICS[measure].label} {arrow}", scope="col", class_="number")


def _figure_cell(measure: str, figure: Figure | None, study: Study) -> Markup:
    if figure is None or (figure.mean is None and not [v for v in figure.each.values() if v is not None]):
        return number(ABSENT)
    format_value = partial(of_metric, METRICS[measure])
    values = [v for v in figure.each.values() if v is not None]
    lines: list[Content] = [
        format_value(figure.mean) if figure.mean is not None else f"{len(values)} of {len(figure.each)} seeds"
    ]
    if figure.low is not None and figure.low != figure.high:
        lines += [element("br"), element("small", f"{format_value(figure.low)} to {format_value(figure.high)}")]
    if min(values) != max(values):
        lines += [element("br"), element("small", f"[{format_value(min(values))}, {format_value(max(values))}]")]
    return element("td", lines, class_="number", data_sort=repr(figure.mean) if figure.mean is not None else None)


def _at_once(cells: int) -> str:
    return "nothing else of the study running" if cells == 1 else f"{cells} cells at once"

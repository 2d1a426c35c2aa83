"""The page's tables of the sweep: every point, how its pictures cover the real ones, and the models' likelihood."""

from __future__ import annotations

from pathlib import Path

from stepladder.metrics.numbers import ABSENT, decimals, fixed, percent, value_of
from stepladder.metrics.pictures import SUPPORT, Point
from stepladder.params import Params
from stepladder.reporting.embedded import figure
from stepladder.reporting.markup import Content, Markup, element, join, number, table
from stepladder.reporting.palette import styles
from stepladder.reporting.rows import Comparison, Likelihood


def points_table(comparison: Comparison, params: Params) -> Markup:
    """Every point with its intervals; columns can be sorted."""
    sweep, chosen, floor = comparison["sweep"], place(comparison["recommended"]), comparison["floor"]
    places = decimals([*(p["frechet"] for p in sweep), floor.get("frechet")])
    milliseconds = decimals([p.get("milliseconds_per_image") for p in sweep], 2)
    head = [
        element("th", "T", scope="col"),
        element("th", "S", scope="col", class_="number"),
        element("th", "Fréchet", scope="col", class_="number"),
        element("th", "interval", scope="col", class_="range", data_fixed=True),
        element("th", "× floor", scope="col", class_="number"),
        element("th", "accuracy", scope="col", class_="number"),
        element("th", "interval", scope="col", class_="range", data_fixed=True),
        element("th", "KID × 1000", scope="col", class_="number"),
        element("th", "interval", scope="col", class_="range", data_fixed=True),
        element("th", "ms a picture", scope="col", class_="number"),
    ]
    rows = []
    for p in sweep:
        cells = [
            element("td", name_of(p["timesteps"], params), data_sort=p["timesteps"]),
            number(str(p["sampling_steps"]), p["sampling_steps"]),
            number(fixed(p["frechet"], places), p["frechet"]),
            _range(p, "frechet", places),
            number(fixed(p["frechet_over_floor"], 2), p["frechet_over_floor"]),
            number(percent(p.get("accuracy")), p.get("accuracy")),
            _range(p, "accuracy", 1, 100),
            number(fixed(_times(p.get("kid"), 1000), 2), p.get("kid")),
            _range(p, "kid", 2, 1000),
            number(fixed(p.get("milliseconds_per_image"), milliseconds), p.get("milliseconds_per_image")),
        ]
        rows.append(element("tr", cells, class_="chosen" if place(p) == chosen else None))
    foot = []
    if floor.get("frechet"):
        foot.append([
            element("td", "real against real", colspan=2), number(fixed(floor["frechet"], places)), "",
            number("1.00"), "", "", number(fixed(_times(floor.get("kid"), 1000), 2)), "", "",
        ])  # fmt: skip
    foot += [[element("td", f"T={t}: not finished", colspan=10)] for t in comparison["missing"]]
    bodies = [
        element("tbody", rows),
        element("tbody", [element("tr", [_td(cell) for cell in row], class_="absent") for row in foot])
        if foot
        else None,
    ]
    html_table = element("table", element("thead", element("tr", head)), bodies, class_="wide dense sortable")
    return element("div", html_table, class_="scroll")


def support(comparison: Comparison, params: Params, reports: Path) -> Markup | None:
    """Precision, recall, density, coverage and memorisation of every point, in a section that unfolds."""
    sweep, floor, chosen = comparison["sweep"], comparison["floor"], place(comparison["recommended"])
    if not any(p.get("precision") is not None for p in sweep):
        return None
    head = [element("th", "T", scope="col"), element("th", "S", scope="col", class_="number")]
    for name in SUPPORT:
        head.append(element("th", name, scope="col", class_="number"))
        head.append(element("th", "interval", scope="col", class_="range", data_fixed=True))
    head += [element("th", name, scope="col", class_="number") for name in ("memorised", "distance", "calls")]
    rows = []
    for p in sweep:
        cells = [
            element("td", name_of(p["timesteps"], params), data_sort=p["timesteps"]),
            number(str(p["sampling_steps"]), p["sampling_steps"]),
        ]
        for name in SUPPORT:
            cells += [number(fixed(value_of(p, name), 2), value_of(p, name)), _range(p, name, 2)]
        cells += [
            number(percent(p.get("memorised")), p.get("memorised")),
            number(fixed(p.get("nearest_ratio"), 2), p.get("nearest_ratio")),
            number(fixed(p.get("network_evaluations"), 0), p.get("network_evaluations")),
        ]
        rows.append(element("tr", cells, class_="chosen" if place(p) == chosen else None))
    real: list[Content] = [element("td", "real against real", colspan=2)]
    for name in SUPPORT:
        real += [number(fixed(floor.get(name), 2)), ""]
    share = comparison.get("protocol", {}).get("memorised_percentile")
    real += [number(percent(share / 100) if share else ABSENT), number("1.00"), ""]
    html_table = element(
        "table",
        element("thead", element("tr", head)),
        element("tbody", rows),
        element("tbody", element("tr", [_td(cell) for cell in real], class_="absent")),
        class_="wide dense sortable",
    )
    caption = (
        "Precision is the share of drawn pictures that look real, recall the share of real pictures that could have been drawn; density and "
        "coverage say the same with less weight on outliers. The dashed lines are what real training pictures get."
    )
    note = (
        "Memorised: the share of pictures nearer to a training picture than all but 1% of the held-out ones are, so 1% is what a model gets "
        "that memorised nothing. Distance: the median distance to the nearest training picture over that of held-out pictures, 1 "
        "where drawn pictures are as new as those. Calls: evaluations of the network for one picture."
    )
    return element(
        "details",
        element("summary", "Precision, recall, density, coverage and memorisation"),
        figure(reports, "support", "Precision, recall, density and coverage against sampling steps, a line for each T", caption),
        element("div", html_table, class_="scroll"),
        element("p", note, class_="note"),
    )  # fmt: skip


def times(comparison: Comparison, params: Params, reports: Path) -> Markup:
    """Where in time the models err, and how well they explain the held-out pictures."""
    rows = []
    for row in comparison["likelihood"]:
        rows.append([
            element("td", name_of(row["timesteps"], params)),
            number(fixed(row["bits_per_dim"], 3)),
            _range(row, "bits_per_dim", 3),
            number(fixed(row["terms"][0], 3)),
            number(fixed(row["prior"], 5)),
            row["variance"].replace("_", " "),
            number(fixed(row["images"], 0)),
        ])  # fmt: skip
    head: list[Content] = [
        "model",
        element("th", "bits/dim", scope="col", class_="number"),
        element("th", "interval", scope="col", class_="range"),
        element("th", "of it L₀, the last step", scope="col", class_="number"),
        element("th", "L_T, the start", scope="col", class_="number"),
        "variance",
        element("th", "pictures", scope="col", class_="number"),
    ]
    caption = (
        "On held-out pictures, by time, from the data at 0 to noise at 1. Bits/dim are the variational bound on the negative log-likelihood of "
        "all T steps, for pictures of 256 levels; a smaller figure explains the pictures better, which need not look better."
    )
    return join([
        figure(reports, "times", "Loss, bits/dim and learned variance by time, a line for each T", caption),
        table(head, rows, class_="wide"),
    ])  # fmt: skip


def name_of(timesteps: int, params: Params) -> Markup:
    """``T = 10``, with the colour that this T has in the figures."""
    style = styles(params.sweep.timesteps).get(timesteps)
    swatch = element("span", class_="swatch", style=f"--swatch:{style.colour}") if style else None
    return element("span", swatch, f"T = {timesteps}", class_="nowrap")


def place(point: Point | None) -> tuple[int, int] | None:
    """(T, S) of ``point``; ``None`` without a point."""
    return (point["timesteps"], point["sampling_steps"]) if point else None


def _range(point: Point | Likelihood, key: str, places: int, factor: float = 1) -> Markup:
    low, high = (_times(value_of(point, f"{key}_{end}"), factor) for end in ("low", "high"))
    text = ABSENT if low is None or high is None else f"{fixed(low, places)} to {fixed(high, places)}"
    return element("td", text, class_="range")


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _td(cell: Content) -> Markup:
    return cell if isinstance(cell, Markup) and cell.startswith("<td") else element("td", cell)

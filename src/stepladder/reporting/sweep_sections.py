"""The page's sections on the timestep sweep: verdict, figures, pictures, table, cost."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stepladder.metrics.numbers import ABSENT, decimals, duration, fixed, percent, short
from stepladder.metrics.pictures import SUPPORT
from stepladder.params import Params
from stepladder.reporting import language_sections as language
from stepladder.reporting.links import run_address
from stepladder.reporting.markup import Content, Markup, data_uri, element, join, number, table
from stepladder.reporting.palette import styles
from stepladder.reporting.recommendation import Point

Comparison = Mapping[str, Any]
DISPLAYED = 430  # CSS pixels: a strip with fewer than these is enlarged, and then by whole pixels


def tiles(comparison: Comparison) -> Markup:
    """The headline figures: those of the recommended point and of the translation."""
    found: list[tuple[str, str, str]] = []
    if point := comparison["recommended"]:
        ratio, floor = point.get("frechet_over_floor"), comparison["floor"].get("frechet")
        against = f"{short(ratio)} × the floor of {short(floor)}" if ratio else "no floor was measured"
        found.append(
            (
                "the least bad, none passes" if point.get("failed") else "recommended",
                f"S = {point['sampling_steps']}",
                f"steps, of a model trained with T = {point['timesteps']}",
            )
        )
        found.append(("Fréchet distance there", short(point["frechet"]), against))
        if point.get("accuracy") is not None:
            judge = comparison["feature_net"].get("accuracy")
            note = f"judged by a network right on {percent(judge)}" if judge else "as the feature network judges"
            found.append(("wanted-class accuracy", percent(point["accuracy"]), note))
    if text := comparison["translation"]:
        found.append(
            ("chrF of the translation", short(text["chrf"]), f"copying the source: {short(text['copy']['chrf'], 2)}")
        )
        found.append(
            ("translated exactly", percent(text["exact_match"]), f"of {text['sentences']:,} held-out sentences")
        )
    found += language.tiles(comparison.get("language_model") or {})
    return element(
        "dl",
        [
            element("div", element("dt", name), element("dd", figure), element("dd", note))
            for name, figure, note in found
        ],
        class_="tiles",
    )


def verdict(comparison: Comparison) -> Markup:
    """The recommended (T, S) and why; which T are missing."""
    parts: list[Content] = []
    if point := comparison["recommended"]:
        rule = (
            "Rule: of the points that cannot be told from the nearest by distance, nor from the most accurate of those by "
            "accuracy, the one with the fewest sampling steps. More pictures (evaluation.samples) tell points apart better."
        )
        parts.append(
            element(
                "div", element("p", point["why"]), varied(point, comparison["floor"]), element("p", rule, class_="note"),
                class_="verdict warning" if point.get("failed") else "verdict", id="verdict",
            )
        )  # fmt: skip
    elif not comparison["missing"]:
        parts.append(element("p", "No point of the sweep has a finite distance, so none is recommended."))
    if comparison["missing"]:
        names = "; ".join(f"T={t}: not finished" for t in comparison["missing"])
        told = f"{names}. What follows is without; `dvc repro` goes on where it stopped."
        parts.append(element("div", element("p", told), class_="verdict warning"))
    return join(parts)


def varied(point: Point, floor: Mapping[str, float]) -> Markup | None:
    """A warning where the recommended point's pictures are less varied than real ones, which a distance may not show."""
    real = floor.get("recall")
    if real is None or point.get("recall_high") is None or point["recall_high"] >= real:
        return None
    told = (
        f"Its pictures are less varied than real ones: recall {point['recall']:.2f} [{point['recall_low']:.2f}, "
        f"{point['recall_high']:.2f}] where real pictures have {real:.2f}."
    )
    return element("p", told)


def quality(comparison: Comparison, reports: Path) -> Markup:
    """Quality against sampling steps."""
    images = comparison["sweep"][0]["images"]
    caption = (
        f"Fréchet distance to held-out pictures in the features of the judging network, {images:,} pictures a point, with "
        f"bootstrap intervals of {comparison['confidence'] * 100:g}%. The dashed line is the distance of real training pictures "
        "to real held-out ones: the floor. Lines stand a little beside each other so that the intervals can be seen."
    )
    small = [
        figure(reports, "accuracy", "Accuracy of the wanted class against sampling steps, a line for each T"),
        figure(reports, "kid", "Kernel inception distance against sampling steps, a line for each T"),
    ]
    return join([
        figure(reports, "quality", "Fréchet distance against sampling steps, a line for each T", caption),
        element("div", small, class_="pair"),
    ])  # fmt: skip


def figure(reports: Path, name: str, description: str, caption: str | None = None) -> Markup | None:
    """A figure for light and dark ground, ``None`` where it was not drawn."""
    light, dark = (reports / "figures" / ground / f"{name}.png" for ground in ("", "dark"))
    if not light.exists():
        return None
    source = (
        element("source", srcset=data_uri(dark), media="screen and (prefers-color-scheme: dark)")
        if dark.exists()
        else None
    )
    picture = element("picture", source, element("img", src=data_uri(light), alt=description))
    return element(
        "figure", element("div", picture, class_="scroll"), element("figcaption", caption) if caption else None
    )


def samples(comparison: Comparison, params: Params, reports: Path) -> Markup:
    """A strip of pictures for each T (columns) and S (rows)."""
    points = {(p["timesteps"], p["sampling_steps"]): p for p in comparison["sweep"]}
    chosen = comparison["recommended"] or {}
    timesteps = sorted(params.sweep.timesteps)
    drawn = {s for _, s in points}
    rows = []
    for steps in sorted(drawn | {s for s in params.sweep.sampling_steps if s <= max(timesteps)}):
        cells: list[Content] = [element("th", f"S = {steps}", scope="row")]
        for t in timesteps:
            here = (t, steps) == (chosen.get("timesteps"), chosen.get("sampling_steps"))
            cells.append(
                element("td", _strip(points.get((t, steps)), t, steps, reports), class_="chosen" if here else None)
            )
        rows.append(cells)
    told = element("p", "Pictures drawn at every point; click one to enlarge it.")
    return join([told, table(["", *(_name_of(t, params) for t in timesteps)], rows, class_="wide strips")])


def _strip(point: Point | None, timesteps: int, steps: int, reports: Path) -> Content:
    if steps > timesteps:
        return element("small", f"{ABSENT} (T has {timesteps} steps)")
    if point is None:
        return element("small", "not finished")
    file = reports / "diffusion" / f"T{timesteps}" / f"samples-S{steps}.png"
    distance = f"Fréchet {short(point['frechet'])}"
    if not file.exists():
        return element("small", f"{distance}; no pictures")
    width, height = _size(file)
    picture = element(
        "img", src=data_uri(file), width=width, height=height, loading="lazy",
        alt=f"T={timesteps}, S={steps}: {distance}", class_="pixels" if width < DISPLAYED else None,
    )  # fmt: skip
    return [element("button", picture, type="button"), element("small", distance)]


def points_table(comparison: Comparison, params: Params) -> Markup:
    """Every point with its intervals; columns can be sorted."""
    sweep, chosen, floor = comparison["sweep"], comparison["recommended"] or {}, comparison["floor"]
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
        is_chosen = all(p[k] == chosen.get(k) for k in ("timesteps", "sampling_steps"))
        cells = [
            element("td", _name_of(p["timesteps"], params), data_sort=p["timesteps"]),
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
        rows.append(element("tr", cells, class_="chosen" if is_chosen else None))
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
    whole = element("table", element("thead", element("tr", head)), bodies, class_="wide dense sortable")
    return element("div", whole, class_="scroll")


def protocol(comparison: Comparison) -> Markup | None:
    """What the figures depend on beside the model, in one sentence."""
    p = comparison.get("protocol")
    if not p:
        return None
    k = p["neighbours"]
    told = (
        f"Protocol: {p['samples']:,} pictures a point, asked for as the {p['held_out']:,} held-out pictures that they are compared with; "
        f"{p['preprocessing']}; features of {p['features']}; precision and recall with k = {k['precision_recall']}, density and coverage "
        f"with k = {k['density_coverage']}; memorised: nearer to one of the {p['training']:,} training pictures, in pixels, than "
        f"{100 - p['memorised_percentile']:g}% of the held-out ones are; intervals of {p['confidence'] * 100:g}% by {p['bootstrap']} "
        f"resamples of the drawn pictures within their classes; floor: {p['floor']['images']:,} real training pictures of the same classes in the place of the "
        f"drawn ones; seed {p['seed']}."
    )
    note = f" Of the data: {p['note']}." if p.get("note") else ""
    wide = f" Mind that {p['too_wide']}." if p.get("too_wide") else ""
    return element("p", told + wide + note, class_="note", id="protocol")


def support(comparison: Comparison, params: Params, reports: Path) -> Markup | None:
    """Precision, recall, density, coverage and memorisation of every point, folded."""
    sweep, floor, chosen = comparison["sweep"], comparison["floor"], comparison["recommended"] or {}
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
            element("td", _name_of(p["timesteps"], params), data_sort=p["timesteps"]),
            number(str(p["sampling_steps"]), p["sampling_steps"]),
        ]
        for name in SUPPORT:
            cells += [number(fixed(p.get(name), 2), p.get(name)), _range(p, name, 2)]
        cells += [
            number(percent(p.get("memorised")), p.get("memorised")),
            number(fixed(p.get("nearest_ratio"), 2), p.get("nearest_ratio")),
            number(fixed(p.get("network_evaluations"), 0), p.get("network_evaluations")),
        ]
        is_chosen = all(p[k] == chosen.get(k) for k in ("timesteps", "sampling_steps"))
        rows.append(element("tr", cells, class_="chosen" if is_chosen else None))
    real: list[Content] = [element("td", "real against real", colspan=2)]
    for name in SUPPORT:
        real += [number(fixed(floor.get(name), 2)), ""]
    share = comparison.get("protocol", {}).get("memorised_percentile")
    real += [number(percent(share / 100) if share else ABSENT), number("1.00"), ""]
    whole = element(
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
    told = (
        "Memorised: the share of pictures nearer to a training picture than all but 1% of the held-out ones are, so 1% is what a model gets "
        "that memorised nothing. Distance: the median distance to the nearest training picture over that of held-out pictures, 1 "
        "where drawn pictures are as new as those. Calls: evaluations of the network for one picture."
    )
    return element(
        "details",
        element("summary", "Precision, recall, density, coverage and memorisation"),
        figure(reports, "support", "Precision, recall, density and coverage against sampling steps, a line for each T", caption),
        element("div", whole, class_="scroll"),
        element("p", told, class_="note"),
    )  # fmt: skip


def times(comparison: Comparison, params: Params, reports: Path) -> Markup:
    """Where in time the models err, and how well they explain the held-out pictures."""
    rows = []
    for row in comparison["likelihood"]:
        rows.append([
            element("td", _name_of(row["timesteps"], params)),
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


def cost(comparison: Comparison, params: Params, reports: Path, costs: Path) -> Markup:
    """What sampling and training take; links to the runs. ``costs`` has the figure of that, see ``figures.draw_cost``."""
    rows = [_training_row(_name_of(row["timesteps"], params), row) for row in comparison["training"]]
    if row := comparison["translation_training"]:
        rows.append(_training_row("translation" if comparison["translation"] else "language model", row))
    head: list[Content] = ["model", *(element("th", name, scope="col", class_="number")
            for name in ("parameters", "steps", "time", "steps a second", "held-out loss")), "run in MLflow"]  # fmt: skip
    caption = (
        "Sampling time is that of the machine that evaluated; the number of sampling steps is what carries over to another. "
        "Losses of different T are of different noise levels and do not rank the models: the distances do."
    )
    return join([
        figure(costs, "cost", "Fréchet distance against milliseconds a picture, and seconds of training for each T", caption),
        element("h3", "Training"),
        table(head, rows, class_="wide"),
        figure(reports, "loss", "Loss by training step", "Thin: while training. Thick, with markers: on held-out data, averaged weights."),
    ])  # fmt: skip


def _training_row(name: Content, row: Mapping[str, Any]) -> list[Content]:
    address, seconds, steps = run_address(row), row.get("seconds"), row.get("steps")
    link = element("a", str(row["run_id"])[:8], href=address, class_="mono") if address else "not tracked"
    return [
        element("td", name, class_="nowrap"),
        number(fixed(row.get("parameters"), 0)),
        number(fixed(steps, 0)),
        number(duration(seconds)),
        number(fixed(steps / seconds, 1) if steps and seconds else ABSENT),
        number(short(row.get("loss"))),
        link,
    ]


def _name_of(timesteps: int, params: Params) -> Markup:
    style = styles(params.sweep.timesteps).get(timesteps)
    swatch = element("span", class_="swatch", style=f"--swatch:{style.colour}") if style else None
    return element("span", swatch, f"T = {timesteps}", class_="nowrap")


def _range(point: Point, key: str, places: int, factor: float = 1) -> Markup:
    low, high = (_times(point.get(f"{key}_{end}"), factor) for end in ("low", "high"))
    shown = ABSENT if low is None or high is None else f"{fixed(low, places)} to {fixed(high, places)}"
    return element("td", shown, class_="range")


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _td(cell: Content) -> Markup:
    return cell if isinstance(cell, Markup) and cell.startswith("<td") else element("td", cell)


def _size(png: Path) -> tuple[int, int]:
    with png.open("rb") as file:
        width, height = struct.unpack(">II", file.read(24)[16:24])
    return width, height

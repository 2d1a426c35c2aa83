"""The page's sections on the timestep sweep: verdict, figures, pictures, protocol, cost; its tables are in ``sweep_tables``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stepladder.metrics.numbers import ABSENT, duration, fixed, percent, short
from stepladder.metrics.pictures import Point
from stepladder.params import Params
from stepladder.reporting.embedded import figure, strip
from stepladder.reporting.links import run_address
from stepladder.reporting.markup import Content, Markup, element, join, number, table
from stepladder.reporting.rows import Comparison, Training
from stepladder.reporting.sweep_tables import name_of, place
from stepladder.text_tasks import tasks


def tiles(comparison: Comparison) -> Markup:
    """The headline figures: those of the recommended point and of the language model."""
    entries: list[tuple[str, str, str]] = []
    if point := comparison["recommended"]:
        ratio, floor = point.get("frechet_over_floor"), comparison["floor"].get("frechet")
        against = f"{short(ratio)} × the floor of {short(floor)}" if ratio else "no floor was measured"
        entries.append(
            (
                "the least bad, none passes" if point.get("failed") else "recommended",
                f"S = {point['sampling_steps']}",
                f"steps, of a model trained with T = {point['timesteps']}",
            )
        )
        entries.append(("Fréchet distance there", short(point["frechet"]), against))
        if point.get("accuracy") is not None:
            judge = comparison["feature_net"].get("accuracy")
            note = f"judged by a network right on {percent(judge)}" if judge else "as the feature network judges"
            entries.append(("wanted-class accuracy", percent(point["accuracy"]), note))
    _, scores = tasks.compared(comparison)
    if scores:
        entries += tasks.TASKS[tasks.name_of(scores)].page.tiles(scores)
    return element(
        "dl",
        [
            element("div", element("dt", name), element("dd", figure), element("dd", note))
            for name, figure, note in entries
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
            element("div", element("p", point["why"]),
                variety_warning(point, comparison["floor"]), element("p", rule, class_="note"),
                class_="verdict warning" if point.get("failed") else "verdict", id="verdict",
            )
        )  # fmt: skip
    elif not comparison["missing"]:
        parts.append(element("p", "No point of the sweep has a finite distance, so none is recommended."))
    if comparison["missing"]:
        names = "; ".join(f"T={t}: not finished" for t in comparison["missing"])
        text = f"{names}. What follows is without; `dvc repro` goes on where it stopped."
        parts.append(element("div", element("p", text), class_="verdict warning"))
    return join(parts)


def variety_warning(point: Point, floor: Mapping[str, float]) -> Markup | None:
    """A warning where the recommended point's pictures are less varied than real ones; distances may not show it."""
    real = floor.get("recall")
    if real is None or point.get("recall_high") is None or point["recall_high"] >= real:
        return None
    text = (
        f"Its pictures are less varied than real ones: recall {point['recall']:.2f} [{point['recall_low']:.2f}, "
        f"{point['recall_high']:.2f}] where real pictures have {real:.2f}."
    )
    return element("p", text)


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


def samples(comparison: Comparison, params: Params, reports: Path) -> Markup:
    """A strip of pictures for each T (columns) and S (rows)."""
    points = {(p["timesteps"], p["sampling_steps"]): p for p in comparison["sweep"]}
    chosen = place(comparison["recommended"])
    timesteps = sorted(params.sweep.timesteps)
    evaluated_steps = {s for _, s in points}
    rows = []
    for steps in sorted(evaluated_steps | {s for s in params.sweep.sampling_steps if s <= max(timesteps)}):
        cells: list[Content] = [element("th", f"S = {steps}", scope="row")]
        for t in timesteps:
            css_class = "chosen" if (t, steps) == chosen else None
            cells.append(element("td", _strip(points.get((t, steps)), t, steps, reports), class_=css_class))
        rows.append(cells)
    hint = element("p", "Pictures drawn at every point; click one to enlarge it.")
    return join([hint, table(["", *(name_of(t, params) for t in timesteps)], rows, class_="wide strips")])


def _strip(point: Point | None, timesteps: int, steps: int, reports: Path) -> Content:
    if steps > timesteps:
        return element("small", f"{ABSENT} (T has {timesteps} steps)")
    if point is None:
        return element("small", "not finished")
    file = reports / "diffusion" / f"T{timesteps}" / f"samples-S{steps}.png"
    distance = f"Fréchet {short(point['frechet'])}"
    if not file.exists():
        return element("small", f"{distance}; no pictures")
    return [strip(file, f"T={timesteps}, S={steps}: {distance}"), element("small", distance)]


def protocol(comparison: Comparison) -> Markup | None:
    """What the figures depend on besides the model, in one sentence."""
    p = comparison.get("protocol")
    if not p:
        return None
    k = p["neighbours"]
    text = (
        f"Protocol: {p['samples']:,} pictures a point, asked for as the {p['held_out']:,} held-out pictures that they are compared with; "
        f"{p['preprocessing']}; features of {p['features']}; precision and recall with k = {k['precision_recall']}, density and coverage "
        f"with k = {k['density_coverage']}; memorised: nearer to one of the {p['training']:,} training pictures, in pixels, than "
        f"{100 - p['memorised_percentile']:g}% of the held-out ones are; intervals of {p['confidence'] * 100:g}% by {p['bootstrap']} "
        f"resamples of the drawn pictures within their classes; floor: {p['floor']['images']:,} real training pictures of the same classes in the place of the "
        f"drawn ones; seed {p['seed']}."
    )
    note = f" Of the data: {p['note']}." if p.get("note") else ""
    warning = f" Mind that {p['too_wide']}." if p.get("too_wide") else ""
    return element("p", text + warning + note, class_="note", id="protocol")


def cost(comparison: Comparison, params: Params, reports: Path, costs: Path) -> Markup:
    """The time that sampling and training take, and links to the runs. ``figures.plot_cost`` plotted into ``costs``."""
    rows = [_training_row(name_of(row["timesteps"], params), row) for row in comparison["training"]]
    if row := comparison["translation_training"]:
        rows.append(_training_row(tasks.compared(comparison)[0].replace("_", " "), row))
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


def _training_row(name: Content, row: Training) -> list[Content]:
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

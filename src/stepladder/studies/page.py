"""The page of a study: one self-contained file, and the same content as JSON next to it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from stepladder.errors import UserError
from stepladder.judgement.failure import USUAL
from stepladder.metrics.numbers import ABSENT, fixed, short
from stepladder.reporting.embedded import figure, strip
from stepladder.reporting.markup import Content, Markup, element, join, table
from stepladder.reporting.report import html_page
from stepladder.studies import results, spec, tables, verdicts
from stepladder.studies.results import Cell, Row, best_of_each
from stepladder.studies.spec import Study
from stepladder.studies.verdicts import Claim
from stepladder.values import Values

STRIPS = 3  # pictures of at most this many seeds are shown
MARKS = {
    "shown": "shown",
    "not shown": "not shown",
    "the opposite": "the opposite was found",
    "not measured": "not measured",
}
CAPTIONS = {
    "steps": "Against sampling steps S: the mean over the seeds with its interval, and a dot a seed. Dashed: the floor.",
    "seeds": "Each arm in its best way to draw: a dot a seed, the mean as a stroke, its interval as a band. Dashed: the floor.",
    "time": "Against what a picture takes on the machine that ran this.",
    "plane": "One measure against the other, a point for each way to draw.",
}


def write(name: str, reports: Path) -> Path:
    """Write ``reports/studies/NAME/`` (``index.html``, ``results.json``, figures) from the finished cells.

    Raises:
        UserError: there is no such study, none of its cells is finished, or they were judged differently.
    """
    study = spec.read(name)
    cells, missing = results.read(name, study, spec.folder(name) / "cells")
    if not cells:
        raise UserError(f"The study {name} has no finished cell; run it with `stepladder study run {name}`.")
    confidence, floor = cells[0]["protocol"]["confidence"], cells[0]["floor"]
    failed = results.failures(missing, spec.folder(name) / "cells")
    rows = results.rows(study, cells, confidence, failed)
    answer, claims = verdicts.verdict(study, rows, floor.get("frechet")), verdicts.claims(study, rows)
    out = reports / "studies" / name
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    _json(out / "results.json", name, study, rows, cells, missing, failed, answer, claims)

    from stepladder.studies import figures  # matplotlib takes a second to load

    plotted = figures.plot_all(study, rows, floor, out / "figures")
    sections: list[tuple[str, str, Content]] = [
        ("verdict", "What came out", _verdict(answer, claims, missing, failed, name))
    ]
    sections.append(("arms", "The arms", [tables.arms(study, rows, floor), _embedded("seeds", plotted, out)]))
    if plotted and set(plotted) - {"seeds"}:
        sections.append(("figures", "Figures", [_embedded(key, plotted, out) for key in ("steps", "plane", "time")]))
    sections.append(("cost", "What it cost", tables.cost(study, rows, cells)))
    if not study.of_text:
        sections.append(("pictures", "Pictures", _pictures(study, rows)))
    if len(rows) > len(study.arms):
        sections.append(("all", "Every way to draw", tables.every_way(study, rows)))
    sections.append(("protocol", "Protocol", _protocol(name, study, cells[0])))
    contents = element(
        "nav", [element("a", title, href=f"#{key}") for key, title, _ in sections], aria_label="Contents"
    )
    about = element("p", study.about) if study.about else None
    header = element(
        "header", element("p", f"Study: {name}", class_="eyebrow"), element("h1", study.question), about, contents
    )
    main = element("main", [element("section", element("h2", title), body, id=key) for key, title, body in sections])
    page = out / "index.html"
    page.write_text(html_page(study.question, join([header, main])), encoding="utf-8")
    return page


def _json(
    file: Path, name: str, study: Study, rows: Sequence[Row], cells: Sequence[Cell], missing: Sequence[tuple[str, int]],
    failed: dict[tuple[str, int], str], answer: list[str], claims: list[Claim],
) -> None:  # fmt: skip
    content: dict[str, object] = {
        "study": name, "question": study.question, "verdict": answer, "claims": [asdict(claim) for claim in claims],
        "missing": [f"{arm}-{seed}" for arm, seed in missing],
        "failed": {f"{arm}-{seed}": why for (arm, seed), why in failed.items()}, "seeds": list(study.seeds), "floor": cells[0]["floor"],
        "protocol": cells[0]["protocol"], "timing": cells[0]["timing"],
        "rows": [
            {
                "arm": row.arm, "timesteps": row.timesteps, "sampling": row.sampling, "steps": row.steps,
                "failures": row.failures, "figures": {key: asdict(value) for key, value in row.figures.items()},
            }
            for row in rows
        ],
    }  # fmt: skip
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _verdict(
    answer: Sequence[str], claims: Sequence[Claim], missing: Sequence[tuple[str, int]],
    failed: dict[tuple[str, int], str], name: str,
) -> Markup:  # fmt: skip
    parts: list[Content] = [
        element(
            "div", [element("p", line) for line in answer], element("p", verdicts.RULE, class_="note"), class_="verdict"
        )
    ]
    if failed:
        lines = [element("p", f"Failed: {arm}-{seed}: {why}") for (arm, seed), why in failed.items()]
        parts.append(element("div", lines, class_="verdict warning"))
    if unfinished := [cell for cell in missing if cell not in failed]:
        cells = ", ".join(f"{arm}-{seed}" for arm, seed in unfinished)
        note = (
            f"Not finished: {cells}. What follows is without; `stepladder study run {name}` goes on where it stopped."
        )
        parts.append(element("div", element("p", note), class_="verdict warning"))
    if claims:
        claim_rows = [
            [element("th", c.claim, scope="row"), element("td", MARKS[c.outcome], class_="nowrap"), c.why]
            for c in claims
        ]
        parts += [
            element("h3", "Claims"),
            table(["claim", "", "figures"], claim_rows, class_="wide"),
            element("p", verdicts.CONTRAST_RULE, class_="note"),
        ]
    return join(parts)


def _pictures(study: Study, rows: Sequence[Row]) -> Markup:
    """Strips of pictures of each arm, sampled in its best way; a column for each seed."""
    seeds = study.seeds[:STRIPS]
    body = []
    for arm, row in best_of_each(study, rows, study.measures[0]).items():
        cells: list[Content] = [element("th", arm, scope="row")]
        for seed in seeds:
            file = row.strips.get(seed)
            cells.append(element("td", strip(file, f"{row.name}, seed {seed}") if file and file.exists() else ABSENT))
        body.append(cells)
    return table(["", *(f"seed {seed}" for seed in seeds)], body, class_="wide strips")


def _embedded(key: str, plotted: Sequence[str], out: Path) -> Content:
    return figure(out, key, CAPTIONS[key], CAPTIONS[key]) if key in plotted else None


def _protocol(name: str, study: Study, cell: Cell) -> Markup:
    p, floor = cell["protocol"], cell["floor"]
    interval = (
        f"Intervals of {p['confidence'] * 100:g}% are Student's over the {tables.seeds(study)}."
        if len(study.seeds) >= results.FEWEST
        else f"Intervals of {p['confidence'] * 100:g}% are the bootstrap's over the pictures of a run ({p['bootstrap']} resamples); "
        + (
            "of two seeds, both runs' together."
            if len(study.seeds) > 1
            else "how far trainings differ takes more seeds."
        )
    )
    if p.get("too_wide") and len(study.seeds) < results.FEWEST:
        interval += f" Mind that {p['too_wide']}."
    seeds = ", ".join(map(str, study.seeds))
    lines = [
        f"Every arm was trained with {tables.seeds(study)} ({seeds}) on the same text of {p['training']:,} tokens or texts, and judged on "
        f"the {p['held_out']:,} held-out ones.",
        interval.replace("pictures of a run", "texts of a run"),
    ] if study.of_text else [
        f"Every arm was trained with {tables.seeds(study)} ({seeds}) on the same {p['training']:,} pictures and "
        f"judged by the same network: {p['samples']:,} drawn pictures of each, the classes in the shares of the {p['held_out']:,} held-out ones, "
        f"in the features of {p['features']}; {p['preprocessing']}. The floor, real training pictures against held-out ones, is a "
        f"Fréchet distance of {short(floor['frechet'])}.",
        interval,
        "A seed failed where its training did, its pictures are not numbers, the Fréchet distance is above "
        f"{USUAL.floor_ratio:g} times the floor's, the coverage below {USUAL.coverage:g} of the floor's, or fewer than "
        f"{USUAL.accuracy:.0%} of the pictures are of the class asked for.",
    ]  # fmt: skip
    settings = [
        [element("th", arm, scope="row"), entry.family, fixed(entry.timesteps, 0) if entry.timesteps else ABSENT,
         element("code", _as_text(spec.nested(entry.set)) or ABSENT)]
        for arm, entry in study.arms.items()
    ]  # fmt: skip
    base = _as_text(spec.nested(study.base))
    start = f"preset {study.preset}" if study.preset else "params.yaml"
    return join([
        [element("p", line) for line in lines],
        element("h3", "Parameters"),
        element("p", f"All arms start from {start}", f" with {base}." if base else "."),
        table(["arm", "family", "T", "what it changes"], settings, class_="wide"),
        element("h3", "Again"),
        element("p", "These figures are made by ", element("code", f"dvc repro studies/{name}/dvc.yaml"), ", or two at once by ",
                element("code", f"stepladder study run {name} --jobs 2"), "."),
    ])  # fmt: skip


def _as_text(values: Values, prefix: str = "") -> str:
    """Nested values as ``a.b=1, a.c=2``; long lists are shortened."""
    parts = []
    for key, value in values.items():
        if isinstance(value, dict):
            parts.append(_as_text(value, f"{prefix}{key}."))
        elif isinstance(value, list) and len(value) > 6:
            parts.append(f"{prefix}{key}=[{', '.join(f'{v:g}' for v in value[:2])}, ..., {value[-1]:g}]")
        else:
            parts.append(f"{prefix}{key}={value}")
    return ", ".join(parts)

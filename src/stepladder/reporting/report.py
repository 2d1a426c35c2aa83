"""The report: one self-contained page with what was run and its results."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import tempfile
from importlib.resources import files
from pathlib import Path
from string import Template

from stepladder import history
from stepladder.errors import UserError
from stepladder.judgement import identity
from stepladder.params import Params
from stepladder.reporting import origin_sections as origin
from stepladder.reporting import sweep_sections as sweep
from stepladder.reporting import sweep_tables
from stepladder.reporting.attention_section import attention
from stepladder.reporting.markup import Content, Markup, element, join, table
from stepladder.reporting.reading import read_json
from stepladder.reporting.rows import Comparison
from stepladder.reporting.translation_sections import warning
from stepladder.text_tasks.record import ENTRIES
from stepladder.text_tasks.tasks import TASKS, compared, name_of

PAGE, DECIDED = "index.html", "page.json"
COMPARISON, REGISTERED = "comparison.json", "registered.json"

Section = tuple[str, str, Content]
"""The id, the title and the content of a section."""


def write(reports: Path, models: Path, params: Params, data: Path | None = None) -> Path:
    """Write ``reports/index.html`` from what ``compare`` and ``register`` left in ``reports``; returns its path.

    The page also shows times and runs, which are no results, so DVC has ``reports/page.json`` in its place: title,
    sections and a hash of the results. Pictures are inside the file, so it can be sent by mail. ``data``: folder of
    the prepared data, for its cards (default: next to ``models``). The page names what is missing, such as a T.
    Raises ``UserError`` without a comparison, or where it is of another training or other data than those in place.
    """
    comparison: Comparison = read_json(reports / "comparison.json")
    if not comparison:
        raise UserError(
            f"{reports / 'comparison.json'} does not exist; run `stepladder compare` first, or `dvc repro`."
        )
    identity.check_comparison(comparison, models, reports)
    comparison = history.compared(comparison, models, reports)
    data = data if data is not None else models.parent / "data"
    images, text = (read_json(data / kind / "card.json") for kind in ("images", "text"))
    title = origin.title(images, text, params)

    sections: list[Section] = [
        (
            "run",
            "What was run",
            [origin.facts(images, text, params, models), origin.runs(comparison), origin.parameters(params)],
        ),
        *_sweep_sections(comparison, params, reports),
        ("cost", "What it cost", _cost(comparison, params, reports)),
        _text_section(comparison, reports),
        ("models", "Registered models", origin.registered(reports)),
    ]
    if linked := studies(reports):
        sections.append(("studies", "Studies", linked))

    contents = element("nav", [element("a", name, href=f"#{key}") for key, name, _ in sections], aria_label="Contents")
    header = element(
        "header",
        element("p", "Stepladder report", class_="eyebrow"),
        element("h1", title),
        contents,
        sweep.tiles(comparison),
    )
    made_of = _digest(reports, params)
    body = [element("section", element("h2", name), body, id=key) for key, name, body in sections]
    main = element("main", body, data_made_of=made_of, data_registered=_registered(reports))
    page = reports / PAGE
    fresh = page.with_suffix(".fresh")
    fresh.write_text(html_page(title, join([header, main])), encoding="utf-8")
    os.replace(fresh, page)
    decided = {"title": title, "sections": {key: name for key, name, _ in sections}, "made_of": made_of}
    history.write(reports / DECIDED, decided)
    return page


def _sweep_sections(comparison: Comparison, params: Params, reports: Path) -> list[Section]:
    """The results of the sweep, or why there are none."""
    if comparison["sweep"]:
        points = [
            sweep_tables.points_table(comparison, params),
            sweep.protocol(comparison),
            sweep_tables.support(comparison, params, reports),
        ]
        quality = [sweep.verdict(comparison), sweep.quality(comparison, reports)]
        sections: list[Section] = [
            ("quality", "Quality against sampling steps", quality),
            ("samples", "Pictures at each T and S", sweep.samples(comparison, params, reports)),
            ("points", "All points", points),
        ]
        if comparison.get("likelihood"):
            sections.append(("times", "Where the models err", sweep_tables.times(comparison, params, reports)))
        return sections
    if why := comparison.get("absent", {}).get("pictures"):
        return [("quality", "Pictures", element("p", f"None: {why}."))]
    return [("quality", "Quality against sampling steps", sweep.verdict(comparison))]


def _text_section(comparison: Comparison, reports: Path) -> Section:
    """The results of the language model, or why there are none."""
    entry, scores = compared(comparison)
    if scores:
        page = TASKS[name_of(scores)].page
        parts: list[Content] = [warning(comparison), page.section(scores, reports), attention(reports)]
        return ENTRIES[entry], page.heading, parts
    if why := comparison.get("absent", {}).get("text"):
        return "translation", "Text", element("p", f"None: {why}.")
    note = element("p", "No translation has been evaluated; `dvc repro evaluate-transformer` does it.")
    return "translation", "Translation", note


def is_current(reports: Path) -> bool:
    """Whether the page in ``reports`` exists and shows the results that ``page.json`` names and the registered models
    as they are now: a ``page.json`` that DVC has restored from its cache has no page yet.
    """  # fmt: skip
    decided, page = read_json(reports / DECIDED), reports / PAGE
    if not decided or not page.exists():
        return False
    text = page.read_text(encoding="utf-8")
    return decided["made_of"] in text and _registered(reports) in text


def is_owed(reports: Path) -> bool:
    """Whether DVC takes the page in ``reports`` as written, but it is not ``is_current``."""
    return (reports / DECIDED).exists() and not is_current(reports)


def _digest(reports: Path, params: Params) -> str:
    parts = [(reports / name).read_bytes() for name in (COMPARISON, REGISTERED) if (reports / name).exists()]
    return hashlib.sha256(b"\0".join([*parts, params.model_dump_json().encode()])).hexdigest()


def _registered(reports: Path) -> str:
    return hashlib.sha256(json.dumps(history.read(reports / REGISTERED)).encode()).hexdigest()


def _cost(comparison: Comparison, params: Params, reports: Path) -> Markup:
    from stepladder.reporting import figures  # matplotlib takes a second to load

    with tempfile.TemporaryDirectory() as scratch:
        figures.plot_cost(comparison, params, Path(scratch) / "figures")
        return sweep.cost(comparison, params, reports, Path(scratch))


def studies(reports: Path) -> Markup | None:
    """Links to the pages of the studies that were run, each with its question and the first line of its verdict."""
    rows: list[list[Content]] = []
    for file in sorted((reports / "studies").glob("*/results.json")):
        study = read_json(file)
        link = element("a", study["question"], href=f"studies/{file.parent.name}/index.html")
        rows.append([element("th", file.parent.name, scope="row"), [link, element("p", (study["verdict"] or [""])[0])]])
    return table(["study", "question, and what came out"], rows, class_="wide") if rows else None


def html_page(title: str, body: Markup) -> str:
    """``body`` in the template of all pages: their style, their script and the policy that they load nothing."""
    template = Template(files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    filled = template.substitute(title=join(f"{title} – Stepladder"), body=body, script_hash="@script")
    script = re.findall(r"<script>(.*?)</script>", filled, re.DOTALL)[-1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return filled.replace("'@script'", f"'sha256-{digest}'", 1)

"""The artifacts of a run on the Prefect page: a summary, the table of results, the plot, a grid of samples, and links.

They are made from the stages' results in the folder of the run, so a run that failed half-way shows what it has.
"""

from __future__ import annotations

import base64
import io
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)

from pipelines import graph
from pipelines.graph import Graph
from stepladder import history
from stepladder.errors import UserError
from stepladder.params import Params, differences, render
from stepladder.reporting import figures, links
from stepladder.reporting.comparison import compare
from stepladder.text_tasks import tasks

COLUMNS = {
    "timesteps": "T",
    "sampling_steps": "S",
    "frechet": "Fréchet distance",
    "frechet_low": "from",
    "frechet_high": "to",
    "frechet_over_floor": "times the floor",
    "accuracy": "accuracy of the wanted class",
    "milliseconds_per_image": "ms a picture",
}
TRAININGS = ("| model | validation loss | seconds | MLflow run |", "| --- | --- | --- | --- |")
SAMPLES_WIDTH = 640


@dataclass(frozen=True)
class Results:
    """The results of the stages ``part`` in ``workspace``; ``page``: the report's place, ``None`` where it is not kept."""

    workspace: Path
    params: Params
    part: Graph
    page: Path | None

    @property
    def has_text_model(self) -> bool:
        """Whether ``part`` has a text model."""
        return any(graph.family(stage).endswith("-transformer") for stage in self.part)

    @property
    def reports(self) -> Path:
        """The folder of their figures."""
        return self.workspace / "reports"

    @property
    def models(self) -> Path:
        """The folder of their models."""
        return self.workspace / "models"


def publish(results: Results, *, title: str, outcome: str, root: Path, experiment: str | None) -> None:
    """Publish the artifacts ``title-summary``, ``-results``, ``-quality``, ``-samples``, ``-mlflow`` and ``-report``, as far
    as there are results.
    """
    with tempfile.TemporaryDirectory() as scratch:
        comparison, figure = _compare(results, Path(scratch))
    pictures: dict[str, tuple[bytes, str]] = {}
    if figure:
        pictures["quality"] = (
            figure,
            "Fréchet distance against sampling steps S, a line for each number of timesteps T",
        )
    best = comparison.get("recommended")
    if best and (grid := _samples(results, best)):
        at = f"T={best['timesteps']}, S={best['sampling_steps']}"
        pictures["samples"] = (grid, f"Samples at the recommended {at}; a column a class")
    uris = {caption: _data_uri(picture) for picture, caption in pictures.values()}
    report = _report(results, root)
    create_markdown_artifact(
        _summary(results, comparison, uris, outcome, _location(root, experiment, report)),
        key=f"{title}-summary",
        description="What came of the run, and where it is",
    )
    if comparison.get("sweep"):
        create_table_artifact(
            [_row(point) for point in comparison["sweep"]],
            key=f"{title}-results",
            description="Quality at each number of timesteps T and of sampling steps S, with intervals",
        )
    for name, (picture, caption) in pictures.items():
        create_image_artifact(_data_uri(picture), key=f"{title}-{name}", description=caption)
    if address := _sweep_address(results):
        create_link_artifact(address, "the runs in MLflow", key=f"{title}-mlflow", description="Curves and figures")
    if report and report.startswith("http"):
        create_link_artifact(report, "the report", key=f"{title}-report", description="What was run, and what it gave")


def parameters(params: Params, preset: str, title: str) -> None:
    """Publish the artifact ``title-parameters``: all parameters of the run, also those that the form does not have."""
    changed = [f"- `{change}`" for change in differences(params)]
    parts = [f"From `{preset}` and the form.", "### Other than in params.yaml", "\n".join(changed) or "Nothing."]
    parts += ["### All", f"```yaml\n{render(params)}```"]
    create_markdown_artifact(
        "\n\n".join(parts) + "\n", key=f"{title}-parameters", description="The parameters that run"
    )


def _compare(results: Results, scratch: Path) -> tuple[Mapping[str, Any], bytes | None]:
    """The comparison of the present results, made in ``scratch``, and its plot of quality as PNG."""
    kinds = ["diffusion", *(["transformer"] if results.has_text_model else [])]
    for kind in kinds:
        if (results.reports / kind).is_dir():
            (scratch / kind).symlink_to(results.reports / kind)
    if not list(scratch.glob("*/metrics.json")) and not list(scratch.glob("diffusion/T*/metrics.json")):
        return {}, None
    try:
        comparison = compare(results.params, results.models, scratch, leave_out=True)
    except UserError as error:  # nothing is left to compare, or it cannot be compared
        return {"why": str(error)}, None
    figures.plot_all(comparison, results.params, results.models, scratch)
    figure = scratch / "figures" / "quality.png"
    return history.compared(
        comparison, results.models, results.reports
    ), figure.read_bytes() if figure.exists() else None


def _summary(
    results: Results, comparison: Mapping[str, Any], pictures: dict[str, str], outcome: str, place: str
) -> str:
    parts = [outcome, *([comparison["why"]] if "why" in comparison else [])]
    if best := comparison.get("recommended"):
        at = f"T={best['timesteps']}, S={best['sampling_steps']}"
        parts.append(
            f"**None is recommended.** {best['why']}" if best.get("failed") else f"**Recommended: {at}.** {best['why']}"
        )
    elif comparison.get("sweep"):
        parts.append("**None is recommended.** No point of the sweep has a finite distance.")
    entry, text = tasks.compared(comparison)
    if text:
        score_names = tasks.TASKS[tasks.name_of(text)].page.summary
        scores = [f"{name} {text[key]:.3g}" for key, name in score_names.items() if key in text]
        title = entry.replace("_", " ").capitalize()
        parts.append(f"**{title}:** {', '.join(scores)}.{_failure(comparison, entry)}")
    for caption, uri in pictures.items():
        parts += [f"### {caption}", f"![{caption}]({uri})"]
    if trainings := _trainings(results):
        parts += ["### Trainings", "\n".join([*TRAININGS, *trainings])]
    return "\n\n".join([*parts, "### Where it is", place]) + "\n"


def page(root: Path, experiment: str = "") -> Path:
    """The path where the report of the workspace, or of an experiment, is kept."""
    return root / "reports" / (Path("experiments", experiment) if experiment else "") / "index.html"


def _failure(comparison: Mapping[str, Any], name: str) -> str:
    why = (comparison.get("failed") or {}).get(name)
    return f" **It counts as failed:** {why}." if why else ""


def _report(results: Results, root: Path) -> str | None:
    """Address of the report, where this run wrote it: on the server of ``STEPLADDER_REPORTS_PAGE``, else of the file."""
    written, kept = results.reports / "index.html", results.page
    if kept is None or "report" not in results.part or not written.exists():
        return None
    if written != kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.unlink(missing_ok=True)  # it may be a link into DVC's cache
        shutil.copyfile(written, kept)
    server = os.environ.get("STEPLADDER_REPORTS_PAGE", "")
    return f"{server}/{kept.relative_to(root / 'reports').as_posix()}" if server else kept.as_uri()


def _location(root: Path, experiment: str | None, report: str | None) -> str:
    page = f"[the report]({report})" if report else "the flow `report`, or `dvc repro`, writes it"
    if experiment:
        return (
            f"DVC experiment `{experiment}` of `{root}`: `dvc exp show` compares it with the others, "
            f"`dvc exp apply {experiment}` brings its models and reports into the workspace. Report: {page}."
        )
    return f"Models: `{root / 'models'}`. Report: {page}."


def _runs(results: Results) -> dict[str, history.Run]:
    """The record of each model in ``part``, by the name of its training."""
    runs = {}
    for stage in results.part:
        kind, _, timesteps = stage.removeprefix("train-").partition("@")
        folder = results.models / kind / (f"T{timesteps}" if timesteps else "")
        if run := history.run(folder):
            runs[f"{kind} T={timesteps}" if timesteps else kind] = run
    return runs


def _trainings(results: Results) -> list[str]:
    rows = []
    for name, run in _runs(results).items():
        figures = run.get("figures", {})
        loss, seconds = (f"{figures[key]:.4g}" if key in figures else "" for key in ("validation/loss", "seconds"))
        address, run_id = _on_local_server(links.run_address(run)), run.get("run_id")
        link = f"[{run_id[:8]}]({address})" if address and run_id else "not tracked"
        rows.append(f"| {name} | {loss} | {seconds} | {link} |")
    return rows


def _sweep_address(results: Results) -> str | None:
    """The MLflow page of the sweep's run; without a sweep, that of a training's run."""
    runs = sorted(_runs(results).values(), key=lambda run: not run.get("parent_run_id"))
    return (
        _on_local_server(links.run_address(runs[0] | {"run_id": runs[0].get("parent_run_id") or runs[0].get("run_id")}))
        if runs
        else None
    )


def _on_local_server(address: str | None) -> str | None:
    """``address`` on the MLflow server that ``make ui`` started, which may be at another port than usual."""
    local = os.environ.get("STEPLADDER_MLFLOW_PAGE", "")
    return address.replace(links.LOCAL, local, 1) if address and local else address


def _row(point: dict[str, Any]) -> dict[str, Any]:
    cells = {heading: point[key] for key, heading in COLUMNS.items() if point.get(key) is not None}
    return {heading: float(f"{value:.4g}") if isinstance(value, float) else value for heading, value in cells.items()}


def _samples(results: Results, point: dict[str, Any]) -> bytes | None:
    from PIL import Image

    file = results.reports / "diffusion" / f"T{point['timesteps']}" / f"samples-S{point['sampling_steps']}.png"
    if not file.exists():
        return None
    with Image.open(file) as image:
        factor = max(1, SAMPLES_WIDTH // image.width)
        grid = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    grid.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _data_uri(picture: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(picture).decode("ascii")

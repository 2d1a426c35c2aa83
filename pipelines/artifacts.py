"""What a run leaves on the Prefect page: a summary with links, the table of results, the figure and a grid of samples.

Made from what the stages left in the folder that they ran in, so a run that failed half-way shows what it has.
"""

from __future__ import annotations

import base64
import io
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect.artifacts import create_image_artifact, create_markdown_artifact, create_table_artifact

from stepladder.params import Params
from stepladder.reporting import links
from stepladder.reporting.comparison import compare, read_json

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
SCORES = {"chrf": "chrF", "bleu": "BLEU", "exact_match": "exact match"}
TRAININGS = ("| model | validation loss | seconds | MLflow run |", "| --- | --- | --- | --- |")
SAMPLES_WIDTH = 640


@dataclass(frozen=True)
class Results:
    """The stages' results in ``workspace``: those of the sweep, and of the translation where ``translation`` is wanted."""

    workspace: Path
    params: Params
    translation: bool

    @property
    def reports(self) -> Path:
        return self.workspace / "reports"

    @property
    def models(self) -> Path:
        return self.workspace / "models"


def publish(results: Results, *, title: str, outcome: str, root: Path, experiment: str | None) -> None:
    """Publish the artifacts ``title-summary``, ``-results``, ``-quality`` and ``-samples``, as far as there are results."""
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
    shown = {help_: _data_uri(picture) for picture, help_ in pictures.values()}
    create_markdown_artifact(
        _summary(results, comparison, shown, outcome, _place(root, experiment)),
        key=f"{title}-summary",
        description="What came of the run, and where it is",
    )
    if comparison.get("sweep"):
        create_table_artifact(
            [_row(point) for point in comparison["sweep"]],
            key=f"{title}-results",
            description="Quality at each number of timesteps T and of sampling steps S, with intervals",
        )
    for name, (picture, help_) in pictures.items():
        create_image_artifact(_data_uri(picture), key=f"{title}-{name}", description=help_)


def _compare(results: Results, scratch: Path) -> tuple[dict[str, Any], bytes | None]:
    """The comparison of what there is, made in ``scratch``, and its figure of quality."""
    kinds = ["diffusion", *(["transformer"] if results.translation else [])]
    for kind in kinds:
        if (results.reports / kind).is_dir():
            (scratch / kind).symlink_to(results.reports / kind)
    if not list(scratch.glob("*/metrics.json")) and not list(scratch.glob("diffusion/T*/metrics.json")):
        return {}, None
    comparison = compare(results.params, results.models, scratch)
    figure = scratch / "figures" / "quality.png"
    return comparison, figure.read_bytes() if figure.exists() else None


def _summary(results: Results, comparison: dict[str, Any], pictures: dict[str, str], outcome: str, place: str) -> str:
    parts = [outcome]
    if best := comparison.get("recommended"):
        parts.append(f"**Recommended: T={best['timesteps']}, S={best['sampling_steps']}.** {best['why']}")
    if translation := comparison.get("translation"):
        scores = [f"{name} {translation[key]:.3g}" for key, name in SCORES.items() if key in translation]
        parts.append(f"**Translation:** {', '.join(scores)}.")
    for help_, uri in pictures.items():
        parts += [f"### {help_}", f"![{help_}]({uri})"]
    if trainings := _trainings(results):
        parts += ["### Trainings", "\n".join([*TRAININGS, *trainings])]
    return "\n\n".join([*parts, "### Where it is", place]) + "\n"


def _place(root: Path, experiment: str | None) -> str:
    if experiment:
        return (
            f"DVC experiment `{experiment}` of `{root}`: `dvc exp show` compares it with the others, "
            f"`dvc exp apply {experiment}` brings its models and reports into the workspace."
        )
    report = root / "reports" / "index.html"
    written = f"[{report}](file://{report})" if report.exists() else "the flow `pipeline`, or `dvc repro`, writes it"
    return f"Models: `{root / 'models'}`. Report: {written}."


def _trainings(results: Results) -> list[str]:
    folders = {f"diffusion T={t}": results.models / "diffusion" / f"T{t}" for t in results.params.sweep.timesteps}
    if results.translation:
        folders["transformer"] = results.models / "transformer"
    rows = []
    for name, folder in folders.items():
        run = read_json(folder / "run.json")
        if run:
            figures = run.get("figures", {})
            loss, seconds = (f"{figures[key]:.4g}" if key in figures else "" for key in ("validation/loss", "seconds"))
            address = _page(links.run_address(run))
            link = f"[{run['run_id'][:8]}]({address})" if address else "not tracked"
            rows.append(f"| {name} | {loss} | {seconds} | {link} |")
    return rows


def _page(address: str | None) -> str | None:
    """``address`` on the MLflow server that ``make ui`` started, which may be at another port than usual."""
    local = os.environ.get("STEPLADDER_MLFLOW_PAGE", "")
    return address.replace(links.LOCAL, local, 1) if address and local else address


def _row(point: dict[str, Any]) -> dict[str, Any]:
    shown = {heading: point[key] for key, heading in COLUMNS.items() if point.get(key) is not None}
    return {heading: float(f"{value:.4g}") if isinstance(value, float) else value for heading, value in shown.items()}


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

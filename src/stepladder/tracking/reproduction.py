"""``stepladder reproduce``: trains a registered model again from its lineage, in a separate folder, and compares the two."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from stepladder import history, lineage, project
from stepladder.errors import UserError
from stepladder.params import PARAMS_FILE
from stepladder.tracking import checkout, figures, health, references, store
from stepladder.tracking.checkout import Checkout
from stepladder.tracking.fetch import fetch

HOME = ".reproductions"
RESULT = "reproduction.json"
DATA = {"transformer": "text"}  # families that do not learn from pictures


@dataclass(frozen=True)
class Difference:
    """A figure of both evaluations, each (value, low, high), and the interval of ``now`` minus ``then``."""

    then: tuple[float, float, float]
    now: tuple[float, float, float]
    low: float
    high: float

    @property
    def explained(self) -> bool:
        """Whether the interval includes zero."""
        return self.low <= 0 <= self.high


@dataclass(frozen=True)
class Reproduction:
    """How a reproduced model compares with the registered one.

    Attributes:
        identical: whether every weight is the same, bit for bit.
        largest: largest difference of two weights; infinite where the tensors have other names, shapes or types.
        environment: what has changed since then, in words.
        figures: those of both evaluations, where the weights differ or ``evaluate`` was set.
    """

    name: str
    version: str
    folder: str
    identical: bool
    weights: int
    largest: float
    environment: tuple[str, ...]
    figures: dict[str, Difference]
    seconds: float

    @property
    def succeeded(self) -> bool:
        """Identical, or no figure differs by more than its interval."""
        return self.identical or (bool(self.figures) and all(d.explained for d in self.figures.values()))

    def __str__(self) -> str:
        where = f"{self.name} version {self.version}, trained again for {self.seconds:.0f} s in {self.folder}"
        lines = [f"{where}: all {self.weights:,} weights are bit-identical."]
        if not self.identical:
            lines = [f"{where}: the weights differ, by {self.largest:.3g} at most (of {self.weights:,})."]
            same = "Nothing that is recorded of the environment differs."
            lines.append("; ".join(self.environment) + "." if self.environment else same)
        for name, d in self.figures.items():
            verdict = "within the interval" if d.explained else "more than the interval"
            lines.append(
                f"{name}: {_with_interval(d.then)} then, {_with_interval(d.now)} now; difference {d.low:.4g} to {d.high:.4g}: {verdict}"
            )
        return "\n".join(lines)


@store.answering()
def reproduce(
    uri: str, out: Path | None = None, *, evaluate: bool = False, log: Callable[[str], None] = print
) -> Reproduction:
    """Train the version that ``uri`` names again, from its commit, data and parameters, and compare.

    Neither the workspace nor its store is changed. The result is also in ``OUT/reproduction.json``.

    Args:
        out: folder for it, new or of an interrupted reproduction; default: ``.reproductions/NAME-VERSION``.
        evaluate: judge it also where it is bit-identical.

    Raises:
        UserError: something that it needs is missing, or a step of it failed.
    """
    client = health.registry()
    name, number = references.version(client, uri)
    folder = (out or project.root() / HOME / f"{name}-{number}").resolve()
    if (folder / RESULT).exists():
        raise UserError(f"{folder} holds a finished reproduction; remove it, or name another folder with --out.")
    version = client.get_model_version(name, number)
    run = client.get_run(str(version.run_id))
    registered, _ = fetch(f"models:/{name}/{number}")
    with tempfile.TemporaryDirectory() as temporary:
        origin = _origin(client, run, f"{name} version {number}", Path(temporary))
        copy = checkout.make(run.data.tags["mlflow.source.git.commit"], origin, folder, log)
    family, timesteps = run.data.tags["stepladder.family"], run.data.params.get("timesteps")
    copy.restore(DATA.get(family, "images"), run.data.tags["stepladder.data_hash"])
    model = copy.folder / "models" / (f"{family}/T{timesteps}" if timesteps else family)
    stage = [family, *(["--timesteps", timesteps] if timesteps else [])]
    if not _trained(model):
        copy.stepladder("train", *stage)
    record, record_folder = _history(copy.folder, model)
    identical, count, largest = _compare(registered, model)
    then = json.loads(lineage.recorded(client, run.info.run_id, lineage.ENVIRONMENT))
    now = json.loads((record_folder / lineage.FOLDER / lineage.ENVIRONMENT).read_text(encoding="utf-8"))
    changed = [f"{key} is {now.get(key)} and was {value}" for key, value in then.items() if now.get(key) != value]
    if not run.data.tags.get("stepladder.study") and record["key"] != run.data.tags["stepladder.key"]:
        changed.append("the training is another one by its spec, data and code")
    figures = {}
    if evaluate or not identical:
        figures = _judge(client, run.info.run_id, copy, stage, version.tags)
    result = Reproduction(
        name, number, str(folder), identical, count, largest, tuple(changed), figures, record["figures"]["seconds"]
    )
    (folder / RESULT).write_text(json.dumps(asdict(result), indent=2) + "\n", encoding="utf-8")
    return result


def _origin(client: Any, run: Any, what: str, folder: Path) -> Path:
    """The lineage of ``run``, complete, downloaded to ``folder``."""
    tags = run.data.tags
    present = {Path(artifact.path).name for artifact in client.list_artifacts(run.info.run_id, lineage.FOLDER)}
    needed = {lineage.PARAMS: "its parameters", lineage.ENVIRONMENT: "what it ran on"}
    if tags.get("stepladder.git_dirty") == "true":
        needed[lineage.DIFF] = "the changes that were not committed"
    missing = [words for file, words in needed.items() if file not in present]
    missing += [] if tags.get("mlflow.source.git.commit") else ["a git commit, since it was trained outside git"]
    if missing:
        raise UserError(
            f"{what} cannot be reproduced: its run {run.info.run_id} does not say {', nor '.join(missing)}."
        )
    return Path(client.download_artifacts(run.info.run_id, lineage.FOLDER, str(folder)))


def _trained(model: Path) -> bool:
    """Whether the folder has a model, made by the code of any commit."""
    return any((model / file).exists() for file in (history.TRAINING, history.RUN))


def _history(root: Path, model: Path) -> tuple[history.Run, Path]:
    """The record of the model that the project in ``root`` has made, and the folder with its lineage.

    The code of older commits left both in the model's folder.
    """
    if (model / history.RUN).exists():
        return json.loads((model / history.RUN).read_text(encoding="utf-8")), model
    home = root / history.FOLDER
    known = history.run(model, home)
    return known, home / known["key"]


def _compare(registered: Path, reproduced: Path) -> tuple[bool, int, float]:
    """(whether all weights are the same bits, their number, the largest difference)."""
    import torch
    from safetensors.torch import load_file

    then, now = (load_file(folder / "model.safetensors") for folder in (registered, reproduced))
    count = sum(weight.numel() for weight in now.values())
    if {key: (w.shape, w.dtype) for key, w in then.items()} != {key: (w.shape, w.dtype) for key, w in now.items()}:
        return False, count, float("inf")
    identical = all(torch.equal(_bits(weight), _bits(now[key])) for key, weight in then.items())
    largest = max(float((weight.double() - now[key].double()).abs().max()) for key, weight in then.items())
    return identical, count, largest


def _bits(weight: Any) -> Any:
    import torch

    return weight.reshape(-1).view(torch.uint8)


def _judge(client: Any, run_id: str, copy: Checkout, stage: list[str], tags: dict[str, str]) -> dict[str, Difference]:
    """The figures that have an interval in both evaluations; {} where the first evaluation was not recorded."""
    if not any(artifact.path == "evaluation/metrics.json" for artifact in client.list_artifacts(run_id, "evaluation")):
        copy.log("the registered model's evaluation is not recorded: there is nothing to compare with")
        return {}
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(client.download_artifacts(run_id, "evaluation/metrics.json", temporary))
        then = json.loads(file.read_text(encoding="utf-8"))
    if "points" in then:
        steps = int(tags["sampling_steps"])
        changes = [f"sweep.timesteps=[{stage[-1]}]", f"sweep.sampling_steps=[{steps}]"]
        copy.stepladder("params", *(part for text in changes for part in ("-S", text)), "--write")
        spec = yaml.safe_load((copy.folder / PARAMS_FILE).read_text(encoding="utf-8"))  # as that commit reads them
        guided = spec.get("sampling", {}).get("classifier_scale", 0) > 0
        for judge in ("feature-net", *["noisy-classifier"] * guided):
            if not _trained(copy.folder / "models" / judge) and not copy.fetched("checkout", f"models/{judge}"):
                copy.stepladder("train", judge)
    copy.stepladder("evaluate", *stage)
    report = copy.folder / "reports" / (f"{stage[0]}/T{stage[-1]}" if len(stage) > 1 else stage[0])
    now = json.loads((report / "metrics.json").read_text(encoding="utf-8"))
    if "points" in then:
        then, now = ({p["sampling_steps"]: p for p in each["points"]}[steps] for each in (then, now))
    names = [name for name in now if f"{name}_low" in now and f"{name}_low" in then]
    return {name: _difference(_figure(then, name), _figure(now, name)) for name in names}


def _difference(then: tuple[float, float, float], now: tuple[float, float, float]) -> Difference:
    return Difference(then, now, *figures.difference(now, then))


def _figure(metrics: Mapping[str, float], name: str) -> tuple[float, float, float]:
    return metrics[name], metrics[f"{name}_low"], metrics[f"{name}_high"]


def _with_interval(figure: tuple[float, float, float]) -> str:
    return "{:.4g} ({:.4g} to {:.4g})".format(*figure)

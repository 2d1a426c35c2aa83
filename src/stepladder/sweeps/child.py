"""One child of a sweep: a point trained with one seed, and judged where the metric needs it.

Children with the same training (which differ in sampling only, say) share one model, in ``sweeps/NAME/models/KEY``.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NotRequired, TypedDict

from filelock import FileLock

from stepladder import dependencies, history, plugins, project
from stepladder.launching import launch
from stepladder.params import Params, load
from stepladder.stages import CELLS
from stepladder.sweeps import space, spec
from stepladder.sweeps.space import Point
from stepladder.sweeps.spec import Sweep
from stepladder.text_tasks.record import Figures
from stepladder.training.families import FAMILIES


@dataclass(frozen=True)
class Places:
    """Folders: prepared pictures and texts, the feature network, and the user's pictures that a model is adapted to."""

    images: Path
    text: Path
    feature_net: Path
    own: Path = Path("data/own")

    def data(self, family: str) -> Path:
        """The data that ``family`` is trained on."""
        return {"images": self.images, "text": self.text, "own": self.own}[FAMILIES[family].data]


class Finished(TypedDict):
    """``metrics.json`` of a child; where its pictures were judged, it has the keys of a study's cell too."""

    seed: int
    training: dict[str, float]
    run: dict[str, object]  # ids of its run in the tracking store
    text: NotRequired[Figures]  # figures of a language model that was judged
    point: Point
    fingerprint: str


@dataclass(frozen=True)
class Child:
    """The training of ``point``, of the sweep ``name``, with ``seed``."""

    name: str
    sweep: Sweep
    point: Point
    seed: int
    places: Places

    @property
    def id(self) -> str:
        """The identity of its point."""
        return space.identity(self.point)

    @property
    def title(self) -> str:
        """Its name in messages."""
        return f"{space.label(self.point)}, seed {self.seed}"

    @property
    def folder(self) -> Path:
        """Its folder: ``metrics.json`` once it is finished, ``outcome.json`` where it failed or was pruned."""
        return spec.folder(self.name) / "children" / f"{self.id}-{self.seed}"

    @cached_property
    def model(self) -> Path:
        """The folder of the trained model."""
        return spec.folder(self.name) / "models" / self.key

    @cached_property
    def key(self) -> str:
        """The key of its training, by the code as it is now, even if the code changes before the training ends."""
        family, params, data, timesteps, launch_child = self._training()
        return launch.identity(family, params, data, timesteps=timesteps, child=launch_child)

    def _training(self) -> tuple[str, Params, Path, int | None, launch.Child]:
        family, params = self.sweep.family, self.sweep.params(self.point, self.seed)
        space_text = {key: json.dumps(value) for key, value in self.sweep.space.items()}
        launch_child = launch.Child(self.name, space_text, self.title)
        return family, params, self.places.data(family), self.sweep.timesteps_of(self.point), launch_child

    def fingerprint(self) -> str:
        """A hash of all that ``metrics.json`` depends on: equal exactly where that file would be equal."""
        content: list[object] = [self.key, self.sweep.metric]
        if self.sweep.is_judged:
            params = self.sweep.params(self.point, self.seed).model_dump(mode="json")
            judge = load(preset=self.sweep.preset).seed, self.places.feature_net / launch.WEIGHTS
            content += [
                params["sampling"], params["decoding"], params["evaluation"], self.sweep.steps_of(self.point),
                judge[0], project.file_hash(judge[1]), dependencies.code_hash(CELLS[FAMILIES[self.sweep.family].data].code()),
                *plugins.code_hash(plugins.named({"sampling.sampler": params["sampling"]["sampler"]})),
            ]  # fmt: skip
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def finished(self) -> Finished | None:
        """Its ``metrics.json``; ``None`` where there is none of this fingerprint."""
        file = self.folder / "metrics.json"
        if not file.exists():
            return None
        metrics: Finished = json.loads(file.read_text(encoding="utf-8"))
        return metrics if metrics["fingerprint"] == self.fingerprint() else None

    def outcome(self) -> dict[str, str]:
        """Why it did not finish: ``status``, failed or pruned, and ``why``; empty where nothing has happened yet."""
        file = self.folder / "outcome.json"
        return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}

    def journal(self) -> Path:
        """The journal of the training while it runs."""
        return project.checkpoints() / self.key / "journal.jsonl"

    def make(self) -> int:
        """Train and judge, each unless it is done already; returns the exit code."""
        with FileLock(self._locked()):
            if not history.training(self.model):
                family, params, data, timesteps, launch_child = self._training()
                code = launch.train(family, params, data, self.model, timesteps=timesteps, child=launch_child)
                if code:
                    return code
            self.folder.mkdir(parents=True, exist_ok=True)
            metrics = self._measured() | {"point": self.point, "fingerprint": self.fingerprint()}
        fresh = self.folder / "metrics.new"
        fresh.write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
        fresh.replace(self.folder / "metrics.json")
        return 0

    def _locked(self) -> Path:
        file = self.model.with_suffix(".lock")
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    def _measured(self) -> dict[str, object]:
        params = self.sweep.params(self.point, self.seed)
        model_run = history.run(self.model)
        run = {"run_id": model_run.get("run_id")}
        metrics: dict[str, object] = {"seed": self.seed, "training": model_run["figures"], "run": run}
        if not self.sweep.is_judged:
            return metrics
        if self.sweep.family == "transformer":
            from stepladder.evaluation.text import evaluate

            return {**metrics, "text": evaluate(params, self.places.text, self.model, self.folder)}
        from stepladder.studies import cell

        study = self.sweep.as_study({self.id: self.point})
        cell_metrics = cell.judge_model(
            self.name, study, self.id, self.seed, params, self.model, self.folder, self.places.images, self.places.feature_net
        )  # fmt: skip
        return {**metrics, **cell_metrics}


def read(name: str, point: str, seed: int, places: Places) -> Child:
    """The child of the sweep ``name`` whose point has the identity ``point``; ``write_point`` has stored that point."""
    file = spec.folder(name) / "points" / f"{point}.json"
    return Child(name, spec.read(name), json.loads(file.read_text(encoding="utf-8")), seed, places)


def write_point(name: str, point: Point) -> None:
    """Store ``point`` in a file, from which ``read`` takes it."""
    file = spec.folder(name) / "points" / f"{space.identity(point)}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(point) + "\n", encoding="utf-8")


def end_with_parent() -> None:
    """Terminate this process when its standard input closes, that is when its parent is gone."""

    def wait() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()

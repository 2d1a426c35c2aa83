"""Judges any model, registered or in a folder, on the present prepared data, and keeps the result in ``.evaluations/``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stepladder import dependencies, history, project
from stepladder.commands.places import FEATURE_NET, IMAGES, NOISY_CLASSIFIER, TEXT
from stepladder.data.card import read_card
from stepladder.diffusion.processes.settings import BUNDLED_CLASSIFIER
from stepladder.judgement.identity import WEIGHTS
from stepladder.params import Params
from stepladder.stages import STAGES
from stepladder.text_tasks.record import Settings

HOME = ".evaluations"
JUDGES = ("evaluate diffusion", "evaluate transformer", "evaluate vae")


class Present:
    """Judges models on the present prepared data as ``params`` say."""

    def __init__(self, params: Params) -> None:
        self.params = params

    def mark(self, figure: str) -> str:
        """``identity.mark`` of the held-out data and judge for ``figure``; ``UserError`` where nothing is prepared."""
        return self._mark(IMAGES if figure == "frechet" else TEXT)

    def metrics(self, model: str) -> Mapping[str, Any]:
        """The metrics of ``model``, a folder or a registered one; ``UserError`` where it cannot be judged."""
        return self.evaluate(model)[0]

    def evaluate(self, model: str) -> tuple[Mapping[str, Any], Path]:
        """The metrics of ``model`` and the folder that holds them, with pictures or texts; judged unless these exist."""
        from stepladder import slots
        from stepladder.evaluation import fitting
        from stepladder.replacing import replacing
        from stepladder.tracking.fetch import fetch

        folder, settings = fetch(model)
        data = TEXT if fitting.family(folder) == "transformer" else IMAGES
        guide = folder / BUNDLED_CLASSIFIER if (folder / BUNDLED_CLASSIFIER).is_dir() else NOISY_CLASSIFIER
        out = self._place(folder, settings, data, guide)
        if not (out / "metrics.json").exists():
            with slots.occupy(f"evaluate {model}"), replacing(out) as fresh:
                fitting.evaluate(self.params, folder, settings, data, FEATURE_NET, fresh, guide)
        return history.read(out / "metrics.json"), out

    def _mark(self, data: Path) -> str:
        from stepladder.judgement import identity

        judges = identity.judges(self.params, FEATURE_NET) if data == IMAGES else []
        return identity.mark(identity.judged(self.params, Path(), data, judges))

    def _place(self, folder: Path, settings: Settings, data: Path, guide: Path) -> Path:
        """The folder for the evaluation of this model with these settings, classifier, data and judge."""
        options = {} if settings else {
            name: getattr(self.params, name).model_dump(mode="json") for name in ("sampling", "sweep", "decoding")
        }  # fmt: skip
        files = [project.file_hash(folder / name) for name in (WEIGHTS, "config.json")]
        sampling = settings.get("sampling") or self.params.sampling.model_dump()
        if data == IMAGES and sampling.get("classifier_scale"):
            files.append(project.file_hash(guide / WEIGHTS))
        code = dependencies.code_hash(file for name in JUDGES for file in STAGES[name].code())
        evaluation = self.params.evaluation.model_dump(mode="json")
        prepared = read_card(data)["content_hash"]
        content = json.dumps([files, settings, options, evaluation, self._mark(data), prepared, code], sort_keys=True)
        return project.root() / HOME / hashlib.sha256(content.encode()).hexdigest()[:16]

"""Checks, before anything runs, that a point of a sweep can be trained on the prepared data and judged as it says."""

from __future__ import annotations

from pathlib import Path

from stepladder.errors import UserError
from stepladder.launching.check import check
from stepladder.studies.checking import guide_folder
from stepladder.studies.possible import check_measure
from stepladder.sweeps.space import Point, label
from stepladder.sweeps.spec import Sweep
from stepladder.training.families import FAMILIES


def check_point(sweep: Sweep, point: Point, data: Path, feature_net: Path) -> None:
    """Raise ``UserError`` where ``point`` cannot be trained on ``data``, or cannot be judged as ``sweep`` says."""
    guide = guide_folder(feature_net) if sweep.is_judged else None
    params = sweep.params(point, sweep.seeds[0])
    try:
        check(sweep.family, params, data, classifier=guide)
        if sweep.is_judged and FAMILIES[sweep.family].data == "text":
            check_measure(sweep.metric, [params.text.task], f"text.task={params.text.task}")
    except UserError as error:
        raise UserError(f"the sweep at {label(point)}: {error}") from None

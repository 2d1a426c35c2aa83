"""Judges a registered version again on the present held-out data: once, since the version keeps the result as a tag."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from stepladder.errors import UserError
from stepladder.tracking import figures
from stepladder.tracking.figures import Tags

KEPT = "judged."  # judged.MARK, a tag of a version: its figures on other held-out data or by another judge, as JSON


class Judge(Protocol):
    """Judges models on the present prepared data."""

    def mark(self, figure: str) -> str:
        """``identity.mark`` of the present held-out data and judge for ``figure``; ``UserError`` where nothing is prepared."""

    def metrics(self, model: str) -> Mapping[str, Any]:
        """The metrics of ``model``, a folder or ``models:/NAME/VERSION``; ``UserError`` where it cannot be judged so."""


def on_present(client: Any, name: str, version: str, judge: Judge) -> Tags:
    """The tags of the version with its figures on the present held-out data; it is judged where nobody has done so yet.

    Raises:
        UserError: nothing is prepared, or the model does not fit the data.
    """
    tags = dict(client.get_model_version(name, version).tags)
    mark = judge.mark(tags[figures.FIGURE])
    if tags.get(figures.JUDGE) == mark:
        return tags
    if kept := tags.get(KEPT + mark):
        judged: dict[str, str] = json.loads(kept)
        return tags | judged
    measured = figures.of_metrics(judge.metrics(f"models:/{name}/{version}"))
    if measured is None or measured.name != tags[figures.FIGURE]:
        raise UserError(
            f"{name} version {version} is judged by {tags[figures.FIGURE]}, which this evaluation does not have."
        )
    client.set_model_version_tag(name, version, KEPT + mark, json.dumps(measured.tags))
    return tags | measured.tags

"""The flow ``reproduce``: trains a registered model again from its lineage, and compares the two."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas import State

from pipelines import form, verbs
from pipelines.form import CHAMPION, Registered
from pipelines.hooks import HOOKS


@flow(name="reproduce", **HOOKS)
@form.described
def reproduce(model: Registered = CHAMPION, evaluate: bool = False) -> State[None]:
    """Train a registered model again, in a clean checkout of its commit with its data and parameters, and compare the two.

    Args:
        evaluate: judge it again also where it is bit-identical
    """
    return verbs.run("reproduce", model, *(["--evaluate"] if evaluate else []))

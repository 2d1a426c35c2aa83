"""The flow ``promote``: makes a registered model @champion, if it passes the gate."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas import State

from pipelines import form, verbs
from pipelines.form import CHALLENGER, Registered
from pipelines.hooks import HOOKS


@flow(name="promote", **HOOKS)
@form.described
def promote(model: Registered = CHALLENGER, force: bool = False, reason: str = "") -> State[None]:
    """Make a registered model @champion, if it passes the gate that `promotion` in params.yaml describes. A refusal says why
    and leaves the champion in place.

    Args:
        force: promote whatever the gate says; needs a reason
        reason: kept in the model's history
    """
    options = [*(["--force"] if force else []), *(["--reason", reason] if reason else [])]
    return verbs.run("promote", model, *options)

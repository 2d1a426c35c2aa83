"""``python -m pipelines.automations``: automations of the Prefect server, for the runs of all workers.

- A run whose process is gone (no sign of life for ``SILENT``) is marked crashed.
- A crashed run starts again, as the same run with the same parameters, and resumes from the checkpoints; at most
  ``STARTS`` times in all.
- With ``STEPLADDER_NOTIFY=TYPE/NAME``, such as ``slack-webhook/team``, that notification block reports the end of every run.

They are made, or brought up to date, on the server that ``PREFECT_API_URL`` names. `make ui` does so for its server.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from typing import Any

from prefect.automations import Automation
from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from stepladder.errors import UserError

TAG = "stepladder"
SILENT = timedelta(seconds=90)
STARTS = 3
NOTIFY = "STEPLADDER_NOTIFY"
ENDS = tuple(f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Crashed", "Cancelled"))
HEARTBEAT = "prefect.flow-run.heartbeat"
OURS = ResourceSpecification({"prefect.resource.id": f"prefect.tag.{TAG}", "prefect.resource.role": "tag"})


def automations(silent: timedelta = SILENT) -> list[Automation]:
    """All automations; raises ``UserError`` where ``STEPLADDER_NOTIFY`` names no notification block."""
    dead = EventTrigger(
        match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
        match_related=OURS,
        for_each={"prefect.resource.id"},
        after={HEARTBEAT},
        expect={HEARTBEAT, *ENDS},
        posture=Posture.Proactive,
        threshold=1,
        within=silent,
    )
    crashed = EventTrigger(
        match=ResourceSpecification(
            {"prefect.resource.id": "prefect.flow-run.*", "prefect.run-count": [str(n) for n in range(STARTS)]}
        ),
        match_related=OURS,
        expect={"prefect.flow-run.Crashed"},
        posture=Posture.Reactive,
        threshold=1,
    )
    crash = ChangeFlowRunState(
        state=StateType.CRASHED, message=f"Its process gave no sign of life for {silent.total_seconds():.0f} s."
    )
    start = ChangeFlowRunState(
        state=StateType.SCHEDULED, name="AwaitingRetry", message="It crashed, and goes on from the checkpoints."
    )
    return [
        Automation(
            name="stepladder: dead runs are crashed",
            description="A run without a sign of life is marked crashed.",
            trigger=dead,
            actions=[crash],
        ),
        Automation(
            name="stepladder: crashed runs start again",
            description=f"The same run, at most {STARTS} times in all.",
            trigger=crashed,
            actions=[start],
        ),
        *_notification(),
    ]


def _notification() -> list[Automation]:
    name = os.environ.get(NOTIFY, "")
    if not name:
        return []
    try:
        block = Block.load(name)
    except ValueError:
        raise UserError(
            f"{NOTIFY}={name!r} names no block of this Prefect server; make one under Blocks on its page, and name it as "
            "TYPE/NAME, such as slack-webhook/team."
        ) from None
    if not isinstance(block, NotificationBlock):
        raise UserError(
            f"{NOTIFY}={name!r} is not a block that notifies; Slack, e-mail, Teams or a custom webhook are."
        )
    ended = EventTrigger(
        match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
        match_related=OURS,
        expect=set(ENDS),
        posture=Posture.Reactive,
        threshold=1,
    )
    notify = SendNotification(
        block_document_id=block._block_document_id,
        subject="{{ flow.name }} {{ flow_run.name }}: {{ flow_run.state.name }}",
        body="{{ flow_run.state.message }}\n{{ (flow_run|ui_url) or flow_run.id }}",
    )
    return [
        Automation(
            name="stepladder: ends are told",
            description=f"By the block {name}.",
            trigger=ended,
            actions=[notify],
        )
    ]


def apply(wanted: list[Automation]) -> None:
    """Make those that are missing on the server, and bring the others up to date."""
    for automation in wanted:
        try:
            existing: Any = Automation.read(name=automation.name)
        except ValueError:
            automation.create()
        else:
            automation.id, automation.enabled = existing.id, existing.enabled
            automation.update()


def main() -> int:
    """Make the automations, or print one sentence that says why not; returns the exit code."""
    try:
        wanted = automations()
    except UserError as error:
        print(f"automations: {error}", file=sys.stderr)
        return 2
    apply(wanted)
    for automation in wanted:
        print(f"{automation.name}: {automation.description}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

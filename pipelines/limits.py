"""The device slots on the Prefect page, as a global concurrency limit a host.

The limit shows what the file locks decide and decides nothing itself: it is written whenever a flow takes or gives back a
slot, counts those held by shells too, and a flow that was killed leaves no slot taken for longer than until the next writes.
"""

from __future__ import annotations

import platform
from concurrent.futures import Future, ThreadPoolExecutor

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.exceptions import ObjectNotFound

from pipelines import clients
from stepladder import slots

_writer = ThreadPoolExecutor(1, "slots-limit")  # in turn; no stage waits for the page


def name() -> str:
    """``stepladder-slots-HOST``: slots are of one host, and a server may have workers on several."""
    return f"stepladder-slots-{platform.node() or 'localhost'}"


def show() -> Future[None]:
    """Bring the limit in step with the slots of this host, meanwhile. A server that does not take it costs a line, not the run.

    Raises:
        UserError: the environment names an impossible number of slots.
    """
    slots.number()
    return _writer.submit(clients.with_own_client(_write))


def _write() -> None:
    uses = slots.uses()
    taken = sum(use.holder is not None for use in uses)
    try:
        with get_client(sync_client=True) as client:
            try:
                client.update_global_concurrency_limit(
                    name(), GlobalConcurrencyLimitUpdate(limit=len(uses), active_slots=taken)
                )
            except ObjectNotFound:
                client.create_global_concurrency_limit(
                    GlobalConcurrencyLimitCreate(name=name(), limit=len(uses), active_slots=taken)
                )
    except Exception as error:
        get_run_logger().warning(f"the page's number of device slots was not written: {type(error).__name__}: {error}")

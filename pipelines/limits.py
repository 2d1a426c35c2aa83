"""Shows the device slots on the Prefect page, as one global concurrency limit for each host.

The limit only shows what the file locks decide. It is written whenever a flow takes or returns a slot, and counts slots that
shells hold too. After a flow was killed it is wrong only until the next flow writes it.
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

_writer = ThreadPoolExecutor(1, "slots-limit")  # one write after the other; no stage waits for the page


def name() -> str:
    """``stepladder-slots-HOST``: slots are of one host, and a server may have workers on several."""
    return f"stepladder-slots-{platform.node() or 'localhost'}"


def show() -> Future[None]:
    """Update the limit to the slots of this host, in the background. If the server fails, a line says so and the run goes on.

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

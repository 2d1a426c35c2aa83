"""Gives work in another thread, which may outlive its run, a separate Prefect client.

Within a flow or a task Prefect's functions all use one client of the context, which is closed when that run ends. A thread
that runs in a copy of the context would use it too, and fail after that.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import TypeVar

from prefect.context import SyncClientContext

T = TypeVar("T")


def with_own_client(work: Callable[[], T]) -> Callable[[], T]:
    """``work`` for another thread: in the present run's context (its log, its settings), but with its own client,
    which is opened and closed there.
    """
    context = contextvars.copy_context()

    def with_client() -> T:
        SyncClientContext.__var__.set(None)  # type: ignore[arg-type]  # as outside any run: then a client is made
        client_context = SyncClientContext()
        with client_context.client:
            SyncClientContext.__var__.set(client_context)
            return work()

    return lambda: context.run(with_client)

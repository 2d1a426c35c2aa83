"""What comes late to the page, after the run that asked for it is over, still comes."""

import logging
import threading
import time
from pathlib import Path

import pytest
from prefect import flow
from prefect.artifacts import create_progress_artifact
from prefect.client.orchestration import get_client

from pipelines import clients, limits, progress
from stepladder import slots

pytestmark = pytest.mark.usefixtures("prefect_api", "scratch")


def test_slots_are_written_after_the_flow_that_took_them_is_over(caplog):
    over = threading.Event()
    limits._writer.submit(over.wait, 60)

    @flow
    def takes_one():
        with slots.hold("a training", 1):
            limits.show()
        return limits.show()

    with caplog.at_level(logging.WARNING):
        last = takes_one()
        over.set()
        last.result(60)
    assert "was not written" not in caplog.text
    with get_client(sync_client=True) as client:
        limit = client.read_global_concurrency_limit_by_name(limits.name())
    assert (limit.limit, limit.active_slots) == (2, 0)


def test_a_trainings_progress_is_shown_by_a_thread_that_outlives_its_run(monkeypatch):
    """The run's end comes between the thread's look at the journal and its word to the page."""
    over, looked, shown, warnings = threading.Event(), threading.Event(), threading.Event(), list[str]()
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.01)
    show = progress._Follower._show

    def late(follower: progress._Follower) -> None:
        looked.set()
        over.wait(60)
        follow = progress._Follower("late", follower.workspace, follower.checkpoints, 0.0, warnings.append)
        show(follow, 50.0, "half-way")
        shown.set()

    monkeypatch.setattr(progress._Follower, "look", late)
    join = threading.Thread.join
    monkeypatch.setattr(
        threading.Thread, "join", lambda thread, timeout=None: join(thread, 0.01 if timeout == 30 else timeout)
    )

    @flow
    def trains():
        with progress.published("train-diffusion@10", Path(), Path(), warnings.append):
            assert looked.wait(60)

    began = time.time()
    trains()
    over.set()
    assert shown.wait(60)
    assert warnings == []
    assert [(a.key, a.description) for a in artifacts_since(began)] == [("late", "half-way")]


def test_a_thread_that_ends_leaves_the_runs_own_client_open():
    began = time.time()

    @flow
    def asks_twice():
        thread = threading.Thread(target=clients.with_own_client(lambda: create_progress_artifact(10.0, key="first")))
        thread.start()
        thread.join()
        create_progress_artifact(20.0, key="second")

    asks_twice()
    assert {a.key for a in artifacts_since(began)} == {"first", "second"}


def test_no_other_module_hands_a_runs_context_to_a_thread():
    handing = [file.name for file in Path(clients.__file__).parent.glob("*.py") if "copy_context" in file.read_text()]
    assert handing == ["clients.py"]


def artifacts_since(began: float):
    with get_client(sync_client=True) as client:
        return [a for a in client.read_artifacts() if a.created.timestamp() >= began]

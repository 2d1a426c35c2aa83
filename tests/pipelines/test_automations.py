"""What the server does by itself: starts crashed runs again, and tells of ends through a notification block."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from prefect import flow
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.states import Crashed, Running

from pipelines import automations
from stepladder.errors import UserError

pytestmark = pytest.mark.usefixtures("prefect_api")


@pytest.fixture
def received() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of an HTTP receiver, and what was posted to it."""
    posted: list[dict[str, Any]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Not into the tests' output."""

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", posted
    server.shutdown()


@flow(name="a-flow")
def a_flow() -> None:
    """Does nothing."""


@pytest.mark.slow
def test_crashed_run_starts_again_a_few_times_and_its_end_is_told(
    received: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
):
    address, posted = received
    webhook = CustomWebhookNotificationBlock(
        name="team", url=address, json_data={"subject": "{{subject}}", "body": "{{body}}"}
    )
    webhook.save("team", overwrite=True)
    monkeypatch.setenv(automations.NOTIFY, "custom-webhook/team")
    for _ in range(2):  # it can be done again, and brings up to date
        automations.apply(automations.automations())

    deployment = a_flow.to_deployment("here", tags=[automations.TAG]).apply()  # type: ignore[union-attr]
    with get_client(sync_client=True) as client:
        assert len([a for a in client.read_automations() if a.name.startswith("stepladder")]) == 3
        run = client.create_flow_run_from_deployment(deployment, name="a-run")
        for starts in range(1, automations.STARTS + 1):
            assert client.set_flow_run_state(run.id, Running()).status == SetStateStatus.ACCEPT
            client.set_flow_run_state(run.id, Crashed(message="the machine burns"))
            if starts < automations.STARTS:
                wait_for(lambda: client.read_flow_run(run.id).state.type == StateType.SCHEDULED)
        wait_for(lambda: len(posted) == automations.STARTS)
        assert client.read_flow_run(run.id).state.type == StateType.CRASHED
    assert posted[-1]["subject"] == "a-flow a-run: Crashed"
    assert posted[-1]["body"].startswith("the machine burns\n")
    assert posted[-1]["body"].endswith(str(run.id))


def test_block_that_is_not_there_or_does_not_notify_is_a_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(automations.NOTIFY, "slack-webhook/nobody")
    with pytest.raises(UserError, match="'slack-webhook/nobody' names no block of this Prefect server"):
        automations.automations()
    Secret(value="s").save("a-secret", overwrite=True)
    monkeypatch.setenv(automations.NOTIFY, "secret/a-secret")
    with pytest.raises(UserError, match="not a block that notifies"):
        automations.automations()


def wait_for(what: Any, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.2)

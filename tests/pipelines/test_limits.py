import pytest
from prefect.client.orchestration import get_client

from pipelines import limits
from pipelines.sweep import sweep
from stepladder import slots

pytestmark = pytest.mark.usefixtures("prefect_api", "scratch")


def shown() -> tuple[int, int]:
    with get_client(sync_client=True) as client:
        limit = client.read_global_concurrency_limit_by_name(limits.name())
        return limit.limit, limit.active_slots


def test_the_page_shows_how_many_slots_there_are_and_are_taken(monkeypatch):
    limits.show().result()
    assert shown() == (2, 0)
    with slots.hold("a shell's training", 1):
        limits.show().result()
        assert shown() == (2, 1)
    monkeypatch.setenv("STEPLADDER_SLOTS", "3")
    limits.show().result()
    assert shown() == (3, 0)


def test_a_flow_keeps_it_in_step(monkeypatch):
    assert sweep(return_state=True).is_completed()
    assert limits._writer.submit(shown).result() == (2, 0), "what was asked for before it is written"

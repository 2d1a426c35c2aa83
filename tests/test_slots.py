import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stepladder import slots
from stepladder.errors import UserError

HOLD = """
import sys, time
from stepladder import slots
with slots.hold(sys.argv[1], int(sys.argv[2])) as held:
    print("held", *(slot.name for slot in held.slots), flush=True)
    time.sleep(float(sys.argv[3]))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STEPLADDER_SLOTS_FOLDER", str(tmp_path))
    for name in ("STEPLADDER_SLOTS", "STEPLADDER_SLOTS_PER_DEVICE", "STEPLADDER_DEVICES", slots.HOLDS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # of the children
    monkeypatch.setattr(slots, "gpus", lambda: ())
    monkeypatch.setattr(slots, "_listed", dict)
    monkeypatch.setattr(slots, "SECONDS_BETWEEN", 0.005)
    return tmp_path


def taken() -> int:
    return sum(use.holder is not None for use in slots.uses())


@contextmanager
def another(what: str, wanted: int = 1, seconds: float = 60) -> Iterator[subprocess.Popen[str]]:
    """A process that holds slots once this block is entered."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, what, str(wanted), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        while line.startswith("waiting"):
            line = process.stdout.readline()
        assert line.startswith("held"), line
        yield process
    finally:
        process.kill()
        process.wait()


def test_no_more_hold_a_slot_than_there_are(monkeypatch):
    monkeypatch.setenv("STEPLADDER_SLOTS", "2")
    guard, running, most = threading.Lock(), 0, 0

    def work() -> None:
        nonlocal running, most
        with slots.hold("work", 1, lambda _: None):
            with guard:
                running += 1
                most = max(most, running)
            time.sleep(0.02)
            with guard:
                running -= 1

    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == 2
    assert taken() == 0


def test_slots_are_shared_with_other_processes_named_to_who_waits_and_freed_by_a_kill(monkeypatch):
    monkeypatch.setenv("STEPLADDER_SLOTS", "1")
    told: list[str] = []
    with another("train T=50") as holder:
        (use,) = slots.uses()
        assert use.holder is not None
        assert use.holder["pid"] == holder.pid
        assert f"cpu-0: train T=50, process {holder.pid} in {Path.cwd()}, since" in str(use)

        def log(line: str) -> None:
            told.append(line)
            os.kill(holder.pid, signal.SIGKILL)

        with slots.hold("train T=10", 1, log):
            assert taken() == 1
    assert len(told) == 1
    assert "waiting for a device slot: cpu-0: train T=50" in told[0]


def test_two_that_each_want_two_of_two_take_turns(folder, monkeypatch):
    """All or none: neither holds one while it waits for the other's."""
    monkeypatch.setenv("STEPLADDER_SLOTS", "2")
    code = """
import sys
from stepladder import slots
slots.SECONDS_BETWEEN = 0.001
for turn in range(25):
    with slots.hold(sys.argv[1], 2, lambda _: None) as held:
        with open(sys.argv[2], "a") as log:
            log.write("+" + sys.argv[1] + "\\n"); log.flush()
            log.write("-" + sys.argv[1] + "\\n")
"""
    log = folder / "log"
    both = [subprocess.Popen([sys.executable, "-c", code, name, str(log)]) for name in "ab"]
    assert [process.wait(120) for process in both] == [0, 0]
    lines = log.read_text().split()
    assert len(lines) == 100
    assert all(start == f"+{end[1:]}" for start, end in zip(lines[::2], lines[1::2], strict=True))


def test_who_wants_two_is_not_passed_by_those_who_want_one(monkeypatch):
    monkeypatch.setenv("STEPLADDER_SLOTS", "2")
    waits, order = threading.Event(), []

    def work(wanted: int) -> None:
        with slots.hold(f"{wanted}", wanted, lambda _: waits.set()):
            order.append(wanted)

    with slots.hold("first", 1):
        two = threading.Thread(target=work, args=(2,))
        two.start()
        assert waits.wait(60)
        one = threading.Thread(target=work, args=(1,))
        one.start()
        time.sleep(0.1)
        assert order == []
    two.join(60)
    one.join(60)
    assert order[0] == 2


def test_a_slot_is_taken_as_long_as_the_training_lives_even_without_its_flow(monkeypatch):
    monkeypatch.setenv("STEPLADDER_SLOTS", "1")
    with slots.hold("stage") as held:
        stage = subprocess.Popen(["sleep", "60"], pass_fds=held.handles)
    try:
        assert taken() == 1
    finally:
        stage.kill()
        stage.wait()
    assert taken() == 0


def test_a_child_joins_in_and_keeps_the_slot_after_its_parent(monkeypatch):
    """``dvc`` passes on the environment but no files."""
    monkeypatch.setenv("STEPLADDER_SLOTS", "1")
    with slots.occupy("flow"):
        assert os.environ[slots.HOLDS] == "cpu-0"
        stage = subprocess.Popen([sys.executable, "-c", HOLD, "stage", "1", "60"], stdout=subprocess.PIPE, text=True)
        assert stage.stdout is not None
        assert stage.stdout.readline() == "held cpu-0\n"
    try:
        assert slots.HOLDS not in os.environ
        assert taken() == 1
    finally:
        stage.kill()
        stage.wait()
    assert taken() == 0


def test_a_name_whose_holder_is_gone_is_not_joined(monkeypatch):
    monkeypatch.setenv("STEPLADDER_SLOTS", "2")
    monkeypatch.setenv(slots.HOLDS, "cpu-7")
    with slots.hold("late") as held:
        assert [slot.name for slot in held.slots] == ["cpu-0"]


def test_number_of_slots(monkeypatch):
    assert slots.number() == 1
    monkeypatch.setattr(slots, "gpus", lambda: ("0", "3"))
    assert slots.number() == 2
    monkeypatch.setenv("STEPLADDER_SLOTS_PER_DEVICE", "2")
    assert slots.number() == 4
    monkeypatch.setenv("STEPLADDER_SLOTS", "3")
    assert slots.number() == 3


def test_on_gpus_a_slot_is_a_device_and_ranks_are_on_different_ones(monkeypatch):
    monkeypatch.setattr(slots, "gpus", lambda: ("0", "3"))
    monkeypatch.setattr(slots, "_listed", lambda: {"0": "GPU-aa", "3": "GPU-bb"})
    monkeypatch.setenv("STEPLADDER_SLOTS_PER_DEVICE", "2")
    assert [slot.name for slot in slots.all_slots()] == ["GPU-aa-0", "GPU-bb-0", "GPU-aa-1", "GPU-bb-1"]
    with slots.hold("one") as one, slots.hold("two ranks", 2) as two, slots.hold("last") as last:
        assert one.environment["CUDA_VISIBLE_DEVICES"] == "0"
        assert sorted(two.environment["CUDA_VISIBLE_DEVICES"].split(",")) == ["0", "3"]
        assert last.environment["CUDA_VISIBLE_DEVICES"] == "3"
    with pytest.raises(UserError, match="wants 3 devices"), slots.hold("three ranks", 3):
        pass
    monkeypatch.setattr(slots, "gpus", lambda: ("GPU-bb",))
    assert slots.all_slots()[0].name == "GPU-bb-0", "the same device by its other name"


def test_the_processor_is_shared_out(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("STEPLADDER_SLOTS", "4")
    with slots.hold("one") as held:
        assert held.environment == {slots.HOLDS: "cpu-0", "OMP_NUM_THREADS": "2"}
    monkeypatch.setenv("STEPLADDER_SLOTS", "1")
    with slots.hold("two ranks of the one", 2) as held:
        assert held.environment == {slots.HOLDS: "cpu-0"}


def test_jobs_at_once_are_slots_on_the_processor_unless_the_environment_says_how_many(monkeypatch):
    assert slots.for_jobs(3) == {"STEPLADDER_SLOTS": "3"}
    monkeypatch.setenv("STEPLADDER_SLOTS", "1")
    assert slots.for_jobs(3) == {}


def test_those_taken_under_another_number_of_slots_are_listed(folder, monkeypatch):
    monkeypatch.setenv("STEPLADDER_SLOTS", "2")
    with slots.hold("first"), slots.hold("second"):
        monkeypatch.setenv("STEPLADDER_SLOTS", "1")
        assert [str(use).split(",")[0] for use in slots.uses()] == ["cpu-0: first", "cpu-1: second"]
    assert json.loads((folder / "cpu-1.lock").read_text())["what"] == "second"
    assert [str(use) for use in slots.uses()] == ["cpu-0: free"]


@pytest.mark.parametrize("variable", ["STEPLADDER_SLOTS", "STEPLADDER_SLOTS_PER_DEVICE", "STEPLADDER_DEVICES"])
@pytest.mark.parametrize("given", ["0", "two", "-1"])
def test_wrong_numbers_are_refused(variable, given, monkeypatch):
    monkeypatch.setenv(variable, given)
    with pytest.raises(UserError, match=variable), slots.hold("any"):
        pass

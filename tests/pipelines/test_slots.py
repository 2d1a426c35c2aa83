import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipelines import slots
from stepladder.errors import UserError


def is_taken(folder: Path) -> bool:
    told: list[str] = []

    class Told(Exception):
        pass

    def log(line: str) -> None:
        told.append(line)
        raise Told

    try:
        with slots.take(folder, log):
            return False
    except Told:
        return True


def test_no_more_hold_a_slot_than_there_are(tmp_path, monkeypatch):
    monkeypatch.setenv("STEPLADDER_SLOTS", "2")
    guard, running, most = threading.Lock(), 0, 0

    def work() -> None:
        nonlocal running, most
        with slots.take(tmp_path, seconds_between=0.005):
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
        thread.join(20)
    assert most == 2


def test_slots_are_shared_with_other_processes_and_freed_by_a_kill(tmp_path, monkeypatch):
    monkeypatch.setenv("STEPLADDER_SLOTS", "1")
    code = "import sys, time; from pathlib import Path; from pipelines import slots\n"
    code += "with slots.take(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"held\n"
        assert is_taken(tmp_path)
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    assert not is_taken(tmp_path)


def test_a_slot_is_taken_as_long_as_the_stage_lives_even_without_its_flow(tmp_path, monkeypatch):
    monkeypatch.setenv("STEPLADDER_SLOTS", "1")
    with slots.take(tmp_path) as slot:
        stage = subprocess.Popen(["sleep", "60"], pass_fds=[slot.handle])
    try:
        assert is_taken(tmp_path)
    finally:
        stage.kill()
        stage.wait()
    assert not is_taken(tmp_path)


def test_number_of_slots(monkeypatch):
    monkeypatch.setattr(slots, "gpus", lambda: ())
    monkeypatch.delenv("STEPLADDER_SLOTS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert slots.number() == 1
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    assert slots.number() == 4
    monkeypatch.setattr(slots, "gpus", lambda: ("0", "3"))
    assert slots.number() == 2
    assert slots.Slot(1, 2, 0).environment() == {"CUDA_VISIBLE_DEVICES": "3"}
    assert slots.Slot(0, 1, 0).environment() == {}


@pytest.mark.parametrize("given", ["0", "two", "-1"])
def test_wrong_number_of_slots_is_refused(given, monkeypatch):
    monkeypatch.setenv("STEPLADDER_SLOTS", given)
    with pytest.raises(UserError, match="STEPLADDER_SLOTS"):
        slots.number()

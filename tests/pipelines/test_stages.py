import os
import threading
import time
from pathlib import Path

import psutil
import pytest

from pipelines import stages
from stepladder.errors import UserError
from stepladder.slots import Held, Slot
from tests.pipelines.project import events


@pytest.fixture(autouse=True)
def inside_a_run():
    with stages.ended_with_the_run():
        yield


@pytest.fixture
def held(tmp_path: Path):
    handle = os.open(tmp_path / "slot", os.O_RDWR | os.O_CREAT)
    yield Held((Slot("cpu-0"),), (handle,), {})
    os.close(handle)


def test_lines_are_logged_and_advice_to_typists_is_not(scratch, held):
    lines: list[str] = []
    stages.run("prepare@images", workspace=scratch, root=scratch, held=held, log=lines.append)
    assert "prepare: step 1 of 1" in lines
    assert not [line for line in lines if "git add" in line or "autostage" in line]


def test_refused_input_is_the_commands_own_sentence(scratch, held, monkeypatch):
    monkeypatch.setenv("SCRATCH_REFUSE", "prepare")
    with pytest.raises(UserError) as refused:
        stages.run("prepare@images", workspace=scratch, root=scratch, held=held, log=print)
    assert str(refused.value) == "diffusion.unet.heads=3, given for prepare, does not divide 32; take 4."


def test_other_failure_names_the_stage_the_exit_code_and_the_last_words(scratch, held, monkeypatch):
    monkeypatch.setenv("SCRATCH_BREAK", "prepare")
    with pytest.raises(
        stages.StageError, match="prepare@images failed with exit code 1: RuntimeError: the device went away"
    ):
        stages.run("prepare@images", workspace=scratch, root=scratch, held=held, log=print)


def test_dvcs_own_refusal_is_reported(scratch, held):
    with pytest.raises(stages.StageError, match="Stage 'no-such-stage' not found"):
        stages.run("no-such-stage", workspace=scratch, root=scratch, held=held, log=print)


def test_whatever_ends_the_run_ends_the_training(scratch, held, log, monkeypatch):
    monkeypatch.setenv("SCRATCH_SLOW", "prepare")

    def run() -> None:
        with pytest.raises(stages.StageError):
            stages.run("prepare@images", workspace=scratch, root=scratch, held=held, log=lambda _: None)

    thread = threading.Thread(target=run)
    with stages.ended_with_the_run():
        thread.start()
        while not events(log):
            time.sleep(0.05)
        pid = events(log)[0]["pid"]
        assert psutil.pid_exists(pid)
    thread.join(5)
    assert not thread.is_alive()
    with pytest.raises(stages.StageError, match="the run is over"):
        stages.run("prepare@text", workspace=scratch, root=scratch, held=held, log=print)
    assert not psutil.pid_exists(pid)


def test_processes_stay_in_this_process_group(scratch):
    code, errors = stages.call(
        ["sh", "-c", "ps -o pgid= -p $$ >&2"], folder=scratch, environment={}, log=lambda _: None
    )
    assert code == 0
    assert int(errors[0]) == os.getpgrp()

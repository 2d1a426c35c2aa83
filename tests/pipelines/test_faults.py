"""Real trainings through the flows: killed, cancelled."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests import server
from tests.browser.conftest import free_port
from tests.pipelines import project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def environment(**extra: str) -> dict[str, str]:
    ours = ("PREFECT_", "MLFLOW_", "STEPLADDER_", "DVC_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    return kept | {
        "PYTHONPATH": str(project.ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1",
        "STEPLADDER_CHECKPOINT_SECONDS": "0.2", "PATH": project.PATH,
    } | extra  # fmt: skip


def wait_for(what: Callable[[], Any], seconds: float = 240) -> Any:
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)
    return found


def ranks(folder: Path) -> list[psutil.Process]:
    """The processes that train in ``folder``, one a rank; what launched them apart."""
    found = []
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
            worker = "stepladder.training.worker" in command and str(folder / ".checkpoints") in command[-1]
            if worker and not any("nproc" in argument for argument in command):
                found.append(process)
        except psutil.Error:
            continue
    return found


def checkpointed(folder: Path) -> bool:
    """Whether there is a checkpoint of a later step than the tenth, at which the journal begins."""
    journals = list(folder.glob(".checkpoints/*/journal.jsonl"))
    begun = [file.stat().st_mtime for file in journals if file.read_text().count("train/loss")]
    return (
        any(file.stat().st_mtime > min(begun) for file in folder.glob(".checkpoints/*/last.ckpt")) if begun else False
    )


def test_killed_trainer_is_tried_again_in_the_same_mlflow_run_to_the_same_weights(
    tmp_path: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch
):
    from pipelines.train import train

    folder = project.make_real(tmp_path / "project", steps=300)
    monkeypatch.chdir(folder)
    for name, value in environment(STEPLADDER_SLOTS_FOLDER=str(tmp_path / "slots")).items():
        monkeypatch.setenv(name, value)
    killed = []

    def kill() -> None:
        wait_for(lambda: checkpointed(folder))
        (trainer,) = ranks(folder)
        os.kill(trainer.pid, signal.SIGKILL)
        killed.append(trainer.pid)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    state = train(timesteps=(10,), return_state=True)
    assert state.is_completed(), state.message
    assert len(killed) == 1
    assert "up to date" in project.dvc(folder, "status", "train-diffusion@10", "prepare@images")

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("diffusion-digits")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    (parent,) = [name for name in runs if name.startswith("sweep")]
    assert set(runs) == {"T=10", parent}
    assert runs["T=10"].data.tags["stepladder.attempts"] == "2"
    for run in runs.values():
        assert run.info.status == "FINISHED"
        assert run.data.tags["stepladder.flow_state"] == "Completed"
        assert run.data.tags["stepladder.flow_run"] in run.data.tags["stepladder.flow_page"]
    steps = [point.step for point in client.get_metric_history(runs["T=10"].info.run_id, "train/loss")]
    assert steps == sorted(set(steps))
    assert steps[-1] == 300

    unbroken = [sys.executable, "-m", "stepladder", "train", "diffusion", "--timesteps", "10"]
    weights = folder / "models/diffusion/T10/model.safetensors"
    resumed = weights.read_bytes()
    weights.unlink()
    subprocess.run(unbroken, cwd=folder, env=environment(STEPLADDER_TRACKING="journal"), check=True, timeout=300)
    assert weights.read_bytes() == resumed


def serve(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """A Prefect server whose database is in ``folder``, once it answers."""
    server = subprocess.Popen(
        [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
        env=environment(PREFECT_HOME=str(folder), PREFECT_SERVER_ANALYTICS_ENABLED="false", DO_NOT_TRACK="1"),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip

    def answers() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/api/health", timeout=5).is_success
        except httpx.HTTPError:
            return False

    wait_for(answers)
    return server


def test_a_training_outlives_the_prefect_server_which_hears_of_its_end(tmp_path: Path):
    folder, port = project.make_real(tmp_path / "project", steps=400, pipelines=True), free_port()
    api = f"http://127.0.0.1:{port}/api"
    server = serve(tmp_path / "prefect", port)
    try:
        flow = subprocess.Popen(
            [sys.executable, "-c", "from pipelines.train import train; train(timesteps=(10,))"],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=environment(PREFECT_HOME=str(tmp_path / "prefect"), PREFECT_API_URL=api,
                            STEPLADDER_TRACKING="journal", STEPLADDER_SLOTS_FOLDER=str(tmp_path / "slots")),
        )  # fmt: skip
        wait_for(lambda: checkpointed(folder))
        (trainer,) = ranks(folder)
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        time.sleep(3)
        assert trainer.is_running()
        server = serve(tmp_path / "prefect", port)
        said, _ = flow.communicate(timeout=400)
        assert flow.returncode == 0, said
        assert "resumes at step" not in said, "nothing began again"
        (run,) = httpx.post(f"{api}/flow_runs/filter", json={}, timeout=60).json()
        assert run["state"]["type"] == "COMPLETED"
        assert (folder / "models/diffusion/T10/model.safetensors").exists()
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A real project whose trainings are long and on two ranks, and the API of its ``make ui``."""
    folder = project.make_real(tmp_path_factory.mktemp("served") / "project", steps=100_000)
    ports = {f"STEPLADDER_{name}_PORT": str(free_port()) for name in ("PREFECT", "REPORTS")}
    process, said = server.start(
        [sys.executable, "-m", "pipelines.serve"], folder.parent / "serve.log", "Ctrl-C", cwd=folder,
        env=environment(STEPLADDER_DEVICES="2", STEPLADDER_TRACKING="journal", STEPLADDER_SLOTS="2",
                        STEPLADDER_SLOTS_FOLDER=str(folder.parent / "slots"), **ports),
    )  # fmt: skip
    try:
        yield folder, re.findall(r"Prefect\s+(http://[\d.:]+)", said)[0] + "/api"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=90)


def start(api: str, flow: str = "train", **parameters: Any) -> str:
    deployment = httpx.get(f"{api}/deployments/name/{flow}/this-machine").json()["id"]
    made = httpx.post(f"{api}/deployments/{deployment}/create_flow_run", json={"parameters": parameters})
    return str(made.json()["id"])


def state(api: str, run: str) -> str:
    return str(httpx.get(f"{api}/flow_runs/{run}", timeout=60).json()["state"]["type"])


def test_cancelling_ends_all_ranks_soon_and_leaves_a_checkpoint_that_the_next_run_goes_on_from(served):
    folder, api = served
    run = start(api)
    wait_for(lambda: len(ranks(folder)) == 2 and checkpointed(folder))
    training = ranks(folder)
    began = time.monotonic()
    httpx.post(f"{api}/flow_runs/{run}/set_state", json={"state": {"type": "CANCELLING"}}, timeout=60)
    psutil.wait_procs(training, timeout=120)
    assert not ranks(folder)
    print(f"ended {time.monotonic() - began:.1f} s after the cancelling")
    wait_for(lambda: state(api, run) == "CANCELLED")

    again = start(api)
    logs = {"logs": {"flow_run_id": {"any_": [again]}}, "limit": 200, "sort": "TIMESTAMP_ASC"}
    wait_for(lambda: [line for line in httpx.post(f"{api}/logs/filter", json=logs, timeout=60).json() if "resumes at step" in line["message"]])  # fmt: skip
    httpx.post(f"{api}/flow_runs/{again}/set_state", json={"state": {"type": "CANCELLING"}}, timeout=60)
    wait_for(lambda: not ranks(folder))

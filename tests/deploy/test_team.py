"""A team's set-up on one host: both servers on PostgreSQL, artifacts in S3, two workers, and one of them killed."""

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.deploy import servers
from tests.pipelines import project

TIMESTEPS = (2, 3, 4, 5, 6, 7, 8, 9)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(servers.postgres_programs() is None, reason="there is no PostgreSQL"),
]
AUTOMATIONS = """
from datetime import timedelta
from pipelines import automations
automations.apply(automations.automations(silent=timedelta(seconds=45)))
"""


def wait_for(what: Callable[[], Any], seconds: float = 1500) -> Any:
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.3)
    return found


def training(worker: psutil.Process) -> Path | None:
    """The folder of the checkpoints of a training among the processes that ``worker`` started."""
    for process in worker.children(recursive=True):
        with suppress(psutil.Error):
            if "stepladder.training.worker" in (command := process.cmdline()):
                return Path(command[-1])
    return None


def test_eight_trainings_on_two_workers_of_which_one_dies(tmp_path: Path):
    folder = project.make_real(tmp_path / "project", steps=250, pipelines=True)
    with ExitStack() as stack:
        postgres = stack.enter_context(servers.postgres())
        keys = stack.enter_context(servers.s3(tmp_path))
        mlflow = stack.enter_context(
            servers.mlflow(tmp_path, f"postgresql+psycopg2://{postgres.database('mlflow')}", "s3://team/mlflow", **keys)
        )
        database = postgres.database("prefect")
        own = servers.environment(
            PREFECT_API_DATABASE_CONNECTION_URL=f"postgresql+asyncpg://{database}",
            PREFECT_HOME=str(tmp_path / "home"),
            PGPASSWORD=servers.PASSWORD,
        )
        servers.run(["prefect", "server", "database", "upgrade", "-y"], tmp_path, own)
        api = stack.enter_context(servers.prefect(tmp_path, database))
        member = servers.environment(
            PREFECT_API_URL=api, PREFECT_HOME=str(tmp_path / "home"), MLFLOW_TRACKING_URI=mlflow, PYTHONPATH="src",
            STEPLADDER_SLOTS="2", STEPLADDER_SLOTS_FOLDER=str(tmp_path / "slots"), STEPLADDER_CHECKPOINT_SECONDS="0.2",
            PREFECT_WORKER_QUERY_SECONDS="1", PREFECT_WORKER_PREFETCH_SECONDS="1",
        )  # fmt: skip

        def do(*command: str) -> str:
            return servers.run(list(command), folder, member)

        do("dvc", "repro", "prepare@images")
        do("prefect", "work-pool", "create", "--type", "process", "stepladder")
        do("prefect", "--no-prompt", "deploy", "--all")
        do("python", "-c", AUTOMATIONS)
        work = ["prefect", "worker", "start", "--pool", "stepladder", "--limit", "1", "--name"]

        def start(name: str) -> psutil.Process:
            return stack.enter_context(servers.started([*work, name], folder / f".{name}.log", member))

        one, _ = start("one"), start("two")
        deployment = httpx.get(f"{api}/deployments/name/train/work-pool", timeout=60).json()["id"]
        for steps in TIMESTEPS:
            made = httpx.post(
                f"{api}/deployments/{deployment}/create_flow_run",
                json={"parameters": {"timesteps": [steps]}}, timeout=60,
            )  # fmt: skip
            assert made.status_code == 201, made.text

        def states() -> list[str]:
            found = httpx.post(f"{api}/flow_runs/filter", json={}, timeout=60).json()
            return sorted(run["state"]["type"] for run in found)

        def in_the_middle() -> bool:
            folder = training(one)
            if folder is None or not (folder / "last.ckpt").exists():
                return False
            run = f"SELECT count(*) FROM tags WHERE key = 'stepladder.key' AND value = '{folder.name}'"
            return postgres.sql(run, "mlflow").strip() == "1" and training(one) == folder

        wait_for(in_the_middle)
        servers.end_all(one)
        start("three")
        wait_for(lambda: states() == ["COMPLETED"] * len(TIMESTEPS))
        runs = httpx.post(f"{api}/flow_runs/filter", json={}, timeout=60).json()
        assert sorted(run["run_count"] for run in runs) == [1] * 7 + [2]
        assert postgres.sql("SELECT count(*) FROM flow_run", "prefect").strip() == "8"

        trained = "SELECT value FROM params WHERE key = 'timesteps'"
        assert sorted(int(steps) for steps in postgres.sql(trained, "mlflow").split()) == list(TIMESTEPS)
        assert set(postgres.sql("SELECT status FROM runs", "mlflow").split()) == {"FINISHED"}
        attempts = "SELECT t.value FROM tags t JOIN params p USING (run_uuid) WHERE t.key = 'stepladder.attempts' AND p.key = 'timesteps'"
        assert sorted(postgres.sql(attempts, "mlflow").split()) == ["1"] * 7 + ["2"]
        done = do("dvc", "exp", "list", "--name-only")
        assert len(done.split()) == 8
        assert do("git", "status", "--porcelain", "--untracked-files=no") == ""
        assert "up to date" in do("dvc", "status", "prepare@images")

        # The sweep in the workspace, from the cache: nothing is trained a second time.
        do("stepladder", "params", "-S", f"sweep.timesteps={list(TIMESTEPS)}", "--write")
        said = do("dvc", "repro", *(f"train-diffusion@{steps}" for steps in TIMESTEPS))
        assert said.count("is cached") == 8, said
        assert "Running stage 'train" not in said
        assert postgres.sql("SELECT count(*) FROM params WHERE key = 'timesteps'", "mlflow").strip() == "8"

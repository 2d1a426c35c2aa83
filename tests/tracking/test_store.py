import http.server
import json
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from stepladder.errors import UserError
from stepladder.tracking import health, runs, store
from tests.tracking import made


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(health, "LOCKED_AFTER", 0.3)


def test_the_store_is_the_projects_own_unless_named(fresh, monkeypatch):
    assert store.uri() == f"sqlite:///{fresh}/mlruns/mlflow.db"
    assert store.home() == fresh / "mlruns"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.example:5000")
    assert store.uri() == "http://tracking.example:5000"
    assert store.home() == fresh / "mlruns"
    monkeypatch.setenv("STEPLADDER_TRACKING", "journal")
    assert store.uri() == ""
    health.check()
    store.prepare()


def test_a_relative_file_is_meant_from_the_projects_folder(fresh, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///elsewhere/runs.db?timeout=5")
    (fresh / "models").mkdir()
    monkeypatch.chdir(fresh / "models")
    assert store.uri() == f"sqlite:///{fresh}/elsewhere/runs.db?timeout=5"
    assert store.home() == fresh / "elsewhere"


def test_a_folder_with_odd_characters(fresh, migrated, monkeypatch):
    odd = fresh / "100% später? #1"
    (odd / "mlruns").mkdir(parents=True)
    shutil.copy(migrated, odd / "mlruns" / "mlflow.db")
    (odd / "dvc.yaml").touch()
    monkeypatch.chdir(odd)
    health.check()
    run = runs.open_run(made.header())
    assert store.client().get_run(run["run_id"]).info.artifact_uri.startswith((odd / "mlruns" / "artifacts").as_uri())
    assert sorted(path.name for path in odd.iterdir()) == ["dvc.yaml", "mlruns"]


def test_passwords_are_not_shown(fresh, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@tracking.example/mlflow")
    assert store.safe_uri() == "https://tracking.example/mlflow"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:secret@localhost:1/runs")
    with pytest.raises(
        UserError, match=r"postgresql://localhost:1/runs.*does not answer \(Connection refused\)"
    ) as caught:
        health.check()
    assert "secret" not in str(caught.value)


def test_unreachable_server_is_one_quick_sentence(fresh, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    start = time.monotonic()
    with pytest.raises(
        UserError, match=r"http://127.0.0.1:1.*Connection refused.*STEPLADDER_TRACKING=journal"
    ) as caught:
        health.check()
    assert time.monotonic() - start < 3
    assert "\n" not in str(caught.value)


def test_unknown_host_is_one_sentence(fresh, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://no-such-host.invalid:5000")
    with pytest.raises(UserError, match=r"no-such-host\.invalid"):
        health.check()


class Handler(http.server.BaseHTTPRequestHandler):
    status, body = 200, b"{}"

    def do_GET(self):
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.body)

    do_POST = do_GET

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (200, b"<html>another service</html>", "does not answer as an MLflow server does"),
        (404, b"", "HTTP status 404"),
        (503, b"", "HTTP status 503"),
        (200, b'{"experiments": []}', None),
        (401, b"", r"knows no such login \(no login was given; HTTP status 401\); set MLFLOW_TRACKING_USERNAME"),
        (403, b"", r"does not allow this login to see its experiments \(no login .*MLFLOW_TRACKING_PASSWORD"),
    ],
)
def test_what_answers_has_to_be_mlflow(fresh, monkeypatch, status, body, problem):
    monkeypatch.setenv("HOME", str(fresh))  # without anybody's ~/.mlflow/credentials
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    handler = type("Answer", (Handler,), {"status": status, "body": body})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        try:
            if problem is None:
                health.check()
            else:
                with pytest.raises(UserError, match=problem):
                    health.check()
        finally:
            server.shutdown()


def test_a_silent_server_is_not_waited_for(fresh, monkeypatch):
    monkeypatch.setattr(health, "SILENT_AFTER", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(UserError, match="no answer in time"):
            health.check()


def test_a_folder_is_refused(fresh, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    with pytest.raises(UserError, match="names a folder"):
        health.check()


def test_what_is_no_database_is_refused(fresh):
    (fresh / "mlruns").mkdir()
    (fresh / "mlruns" / "mlflow.db").write_bytes(b"this is not a database, but long enough to be one" * 100)
    with pytest.raises(UserError, match=r"mlflow.db is damaged \(file is not a database\)"):
        health.check()


def test_a_missing_folder_is_refused(fresh, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{fresh}/absent/mlflow.db")
    with pytest.raises(UserError, match="absent is not a folder"):
        health.check()


@pytest.mark.parametrize("kind", ["IMMEDIATE", "EXCLUSIVE"])
def test_a_locked_database_is_one_sentence(project, impatient, kind):
    holder = sqlite3.connect(project / "mlruns" / "mlflow.db", isolation_level=None)
    holder.execute(f"BEGIN {kind}")
    try:
        with pytest.raises(UserError, match=r"mlflow.db cannot be written to \(database is locked\); end the process"):
            health.check()
    finally:
        holder.close()
    health.check()


def test_a_busy_database_is_well(project, impatient):
    """One that holds the database most of the time, but finishes its writes."""
    over = threading.Event()

    def write():
        connection = sqlite3.connect(project / "mlruns" / "mlflow.db", isolation_level=None)
        connection.execute("CREATE TABLE busy (n)")
        while not over.is_set():
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO busy VALUES (1)")
            time.sleep(0.2)
            connection.execute("COMMIT")
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        time.sleep(0.1)
        for _ in range(3):
            health.check()
    finally:
        over.set()
        writer.join()


@pytest.mark.slow
def test_eight_processes_at_once_on_a_fresh_store(fresh):
    command = [sys.executable, "-m", "tests.tracking.eight", str(fresh)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    opened = [json.loads(line) for line in done.stdout.splitlines()]
    assert len({run["run_id"] for run in opened}) == 8
    assert len({run["parent_run_id"] for run in opened}) == 1
    found = store.client().search_runs([opened[0]["experiment_id"]])
    assert len(found) == 9
    assert {run.info.status for run in found} == {"FINISHED"}


def test_importing_does_not_import_mlflow():
    names = [f"stepladder.tracking.{file.stem}" for file in Path(store.__file__).parent.glob("*.py")]
    names = [name for name in names if "pyfunc" not in name and "__init__" not in name]
    code = f"import sys, {', '.join(names)}; assert not {{'mlflow', 'torch', 'sqlalchemy'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_wrong_with_a_model_is_no_failure_of_the_store(project):
    from mlflow.exceptions import MlflowException

    def predict():
        with store.answering():
            try:
                raise UserError("classifier_scale=1 needs a noisy classifier.")
            except UserError as error:
                raise MlflowException.invalid_parameter_value(str(error)) from error

    with pytest.raises(UserError, match=r"^classifier_scale=1 needs a noisy classifier\.$"):
        predict()
    with pytest.raises(MlflowException, match="not of the store"), store.answering():
        raise MlflowException("not of the store")
    with pytest.raises(ValueError, match="anything else"), store.answering():
        raise ValueError("anything else")


def test_what_the_store_fails_with_and_what_it_refuses(project):
    client = store.client()
    with pytest.raises(UserError, match=r"refuses what is asked of it .*not found"), store.answering():
        client.get_run("0" * 32)
    with closing(sqlite3.connect(project / "mlruns" / "mlflow.db")) as connection:
        connection.execute("DROP TABLE registered_models")
        connection.commit()
    with pytest.raises(UserError, match=r"failed .*; what it lacks, `stepladder sync` sends"), store.answering():
        client.search_registered_models()

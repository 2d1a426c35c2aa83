"""docs/backups.md and docs/garbage-collection.md: what the commands there keep, bring back and remove."""

import sqlite3
import sys
from pathlib import Path

import pytest

from tests.deploy import servers

pytestmark = pytest.mark.slow
FILL = """
import mlflow, sys
client = mlflow.MlflowClient()
experiment = client.create_experiment("an-experiment", artifact_location=sys.argv[1])
run = client.create_run(experiment, run_name="a-run")
client.log_metric(run.info.run_id, "loss", 0.5, step=3)
client.log_text(run.info.run_id, "words", "note.txt")
client.create_registered_model("a-model")
client.create_model_version("a-model", f"{run.info.artifact_uri}", run.info.run_id)
client.set_registered_model_alias("a-model", "champion", "1")
"""
READ = """
import mlflow
client = mlflow.MlflowClient()
version = client.get_model_version_by_alias("a-model", "champion")
print(client.get_metric_history(version.run_id, "loss")[0].value, open(client.download_artifacts(version.run_id, "note.txt")).read())
"""


def python(script: str, folder: Path, uri: str, *arguments: str) -> str:
    own = servers.environment(MLFLOW_TRACKING_URI=uri, PGPASSWORD=servers.PASSWORD)
    return servers.run([sys.executable, "-c", script, *arguments], folder, own)


@pytest.mark.skipif(servers.postgres_programs() is None, reason="there is no PostgreSQL")
def test_postgresql_is_dumped_and_restored(tmp_path: Path):
    with servers.postgres() as postgres:
        uri = f"postgresql+psycopg2://{postgres.database('mlflow')}"
        python(FILL, tmp_path, uri, f"file://{tmp_path}/artifacts")
        where = ["-h", "127.0.0.1", "-p", str(postgres.port), "-U", "mlflow", "-d", "mlflow"]
        secret = {"PGPASSWORD": servers.PASSWORD}
        dump = str(postgres.folder / "mlflow.dump")
        postgres.run("pg_dump", *where, "--format=custom", "--file", dump, **secret)
        postgres.sql("DROP DATABASE mlflow")
        postgres.sql("CREATE DATABASE mlflow OWNER mlflow")
        postgres.run("pg_restore", *where, "--no-owner", "--exit-on-error", dump, **secret)
        assert "0.5 words" in python(READ, tmp_path, uri)
        own = servers.environment(**secret)
        servers.run(["mlflow", "db", "upgrade", uri], tmp_path, own)
        assert "0.5 words" in python(READ, tmp_path, uri)


def test_sqlite_is_copied_while_in_use_and_garbage_collection_takes_registered_runs_too(tmp_path: Path):
    file, copy = tmp_path / "mlflow.db", tmp_path / "copy.db"
    uri = f"sqlite:///{file}"
    python(FILL, tmp_path, uri, f"file://{tmp_path}/artifacts")
    with sqlite3.connect(file) as busy:
        busy.execute("BEGIN")
        busy.execute("SELECT count(*) FROM runs").fetchone()
        servers.run([sys.executable, "-c", BACKUP, str(file), str(copy)], tmp_path, servers.environment())
    assert "0.5 words" in python(READ, tmp_path, f"sqlite:///{copy}")

    python(DELETE + RESCUE + RESCUED, tmp_path, uri)  # the page's way to bring back what is registered
    python(DELETE, tmp_path, uri)
    said = servers.run(
        ["mlflow", "gc", "--backend-store-uri", uri], tmp_path, servers.environment(MLFLOW_TRACKING_URI=uri)
    )
    assert "permanently deleted" in said
    version = "import mlflow\nprint(mlflow.MlflowClient().get_model_version_by_alias('a-model', 'champion').version)"
    assert python(version, tmp_path, uri).strip().endswith("1"), "the registration is still there ..."
    assert not list((tmp_path / "artifacts").rglob("note.txt")), "... and what it stands for is gone"


DELETE = """
import mlflow
client = mlflow.MlflowClient()
client.delete_run(client.get_model_version("a-model", "1").run_id)
"""
RESCUED = """
assert client.get_run(client.get_model_version("a-model", "1").run_id).info.lifecycle_stage == "active"
"""
PAGE = Path(__file__).parents[2] / "docs/garbage-collection.md"
RESCUE = PAGE.read_text(encoding="utf-8").partition("```python")[2].partition("```")[0]
BACKUP = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as store, sqlite3.connect(sys.argv[2]) as copy:
    store.backup(copy)
"""

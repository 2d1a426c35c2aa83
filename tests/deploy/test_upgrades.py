"""docs/upgrades.md: databases as older versions left them, migrated by the commands there with what is in them kept."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.deploy import servers
from tests.deploy.test_backups import FILL, READ, python

pytestmark = pytest.mark.slow
OLDER = """
import sys
from alembic import command
from mlflow.store.db.utils import _get_alembic_config
command.downgrade(_get_alembic_config(sys.argv[1]), "-1")
"""


def revision(file: Path, mark: str = "") -> str:
    """Of the schema in a database; ``mark`` it as another."""
    with closing(sqlite3.connect(file)) as database:
        if mark:
            database.execute("UPDATE alembic_version SET version_num = ?", [mark])
            database.commit()
        return str(database.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def test_mlflow_s_database_of_an_older_version_is_migrated_with_all_that_is_in_it(tmp_path: Path):
    file, uri = tmp_path / "mlflow.db", f"sqlite:///{tmp_path}/mlflow.db"
    python(FILL, tmp_path, uri, f"file://{tmp_path}/artifacts")
    newest = revision(file)
    python(OLDER, tmp_path, uri, uri)
    older = revision(file)
    assert older != newest
    servers.run(["mlflow", "db", "upgrade", uri], tmp_path, servers.environment())
    assert revision(file) == newest
    assert "0.5 words" in python(READ, tmp_path, uri)

    revision(file, older)  # whose tables are all there
    refused = subprocess.run(
        [sys.executable, "-m", "stepladder", "history", "models:/a-model"],
        cwd=tmp_path, env=servers.environment(MLFLOW_TRACKING_URI=uri), capture_output=True, text=True,
    )  # fmt: skip
    assert refused.returncode == 2
    assert "mlflow db upgrade" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_prefect_s_database_of_an_older_version_is_migrated_with_its_variables(tmp_path: Path):
    file = tmp_path / "prefect.db"
    own = servers.environment(
        PREFECT_HOME=str(tmp_path), PREFECT_API_DATABASE_CONNECTION_URL=f"sqlite+aiosqlite:///{file}"
    )
    variable = ["prefect", "variable", "set", "answer", "42"]
    servers.run(variable, tmp_path, own)
    newest = revision(file)
    servers.run(["prefect", "server", "database", "downgrade", "-y", "-r", "-1"], tmp_path, own)
    assert revision(file) != newest
    servers.run(["prefect", "server", "database", "upgrade", "-y"], tmp_path, own)
    assert revision(file) == newest
    assert "42" in servers.run(["prefect", "variable", "get", "answer"], tmp_path, own)

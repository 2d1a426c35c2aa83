"""Both servers refuse who has no login, and a training gets through with one from the environment."""

from pathlib import Path

import httpx
import pytest

from tests import registered
from tests.deploy import servers

pytestmark = pytest.mark.slow


def test_mlflow_with_users_and_a_training_that_logs_in(tmp_path: Path):
    (tmp_path / "users.ini").write_text(
        "[mlflow]\ndefault_permission = EDIT\nadmin_username = admin\n"
        f"database_uri = sqlite:///{tmp_path}/users.db\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    secrets = {"MLFLOW_FLASK_SERVER_SECRET_KEY": "a-key-of-the-tests", "MLFLOW_AUTH_ADMIN_PASSWORD": servers.PASSWORD}
    own = {"MLFLOW_AUTH_CONFIG_PATH": str(tmp_path / "users.ini")} | secrets
    login = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": servers.PASSWORD}
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "dvc.yaml").write_text("stages: {}\n")
    registered.write(folder)
    backend = f"sqlite:///{tmp_path}/mlflow.db"
    with servers.mlflow(tmp_path, backend, str(tmp_path / "stored"), "--app-name", "basic-auth", **own) as address:
        search = f"{address}/api/2.0/mlflow/experiments/search?max_results=9"
        assert httpx.get(search, timeout=60).status_code == 401
        assert httpx.get(search, timeout=60, auth=("admin", "wrong")).status_code == 401
        named = {"STEPLADDER_SLOTS_FOLDER": str(tmp_path / "slots"), "MLFLOW_TRACKING_URI": address}
        registered.run(folder, "prepare", "images", **named)
        registered.run(folder, "train", "diffusion", "--timesteps", "6", **named, **login)
        found = httpx.get(search, timeout=60, auth=("admin", servers.PASSWORD)).json()["experiments"]
    assert "diffusion-digits" in {experiment["name"] for experiment in found}
    assert list((tmp_path / "stored").rglob("packages.txt")), "the server stores artifacts itself"


def test_prefect_with_a_password(tmp_path: Path):
    secret = f"team:{servers.PASSWORD}"
    with servers.prefect(tmp_path, PREFECT_SERVER_API_AUTH_STRING=secret) as api:
        assert httpx.post(f"{api}/flow_runs/filter", json={}, timeout=60).status_code == 401
        member = servers.environment(PREFECT_API_URL=api, PREFECT_HOME=str(tmp_path / "home"))
        command = ["prefect", "work-pool", "create", "--type", "process", "stepladder"]
        servers.run(command, tmp_path, member, code=1)
        servers.run(command, tmp_path, member | {"PREFECT_API_AUTH_STRING": secret})

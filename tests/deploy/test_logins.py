"""Both servers refuse who has no login, and a training gets through with one from the environment."""

import subprocess
import sys
from collections.abc import Iterator
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


TRAIN = ("train", "diffusion", "--timesteps", "6")
ASKING = (
    TRAIN, ("evaluate", "diffusion", "--timesteps", "6"), ("register",), ("sync",), ("promote", "diffusion-digits"),
    ("rollback", "diffusion-digits", "--reason", "worse"), ("history", "diffusion-digits"),
    ("show", "models:/diffusion-digits@champion"), ("reproduce", "models:/diffusion-digits@champion"),
    ("sample", "--model", "models:/diffusion-digits@champion"),
)  # fmt: skip


@pytest.fixture(scope="module")
def guarded(tmp_path_factory) -> Iterator[tuple[Path, str]]:
    """A project with a model that the administrator trained, and the server that knows users; others may only look."""
    root = tmp_path_factory.mktemp("guarded")
    (root / "users.ini").write_text(
        f"[mlflow]\ndefault_permission = READ\nadmin_username = admin\ndatabase_uri = sqlite:///{root}/users.db\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    own = {
        "MLFLOW_AUTH_CONFIG_PATH": str(root / "users.ini"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "a-key-of-the-tests",
        "MLFLOW_AUTH_ADMIN_PASSWORD": servers.PASSWORD,
    }
    folder = root / "project"
    folder.mkdir()
    (folder / "dvc.yaml").write_text("stages: {}\n")
    registered.write(folder)
    backend = f"sqlite:///{root}/mlflow.db"
    with servers.mlflow(root, backend, str(root / "stored"), "--app-name", "basic-auth", **own) as address:
        reader = {"username": "reader", "password": servers.PASSWORD}
        admin = ("admin", servers.PASSWORD)
        made = httpx.post(f"{address}/api/2.0/mlflow/users/create", json=reader, timeout=60, auth=admin)
        assert made.status_code == 200, made.text
        registered.run(folder, "prepare", "images", **environment(root, address))
        registered.run(folder, *TRAIN, **environment(root, address, *admin))
        yield folder, address


def environment(home: Path, address: str, name: str = "", password: str = "") -> dict[str, str]:
    login = {"MLFLOW_TRACKING_USERNAME": name, "MLFLOW_TRACKING_PASSWORD": password} if name else {}
    return {"STEPLADDER_SLOTS_FOLDER": str(home / "slots"), "HOME": str(home), "MLFLOW_TRACKING_URI": address} | login


def made_there(folder: Path) -> list[str]:
    return sorted(str(file) for name in ("models", "reports", ".checkpoints") for file in (folder / name).rglob("*"))


def test_whoever_asks_the_store_without_a_login_is_refused_before_any_work(guarded, tmp_path):
    folder, address = guarded
    before = made_there(folder)
    script = f"from stepladder.cli import main\nfor verb in {ASKING}: assert main(list(verb)) == 2, verb"
    own = registered.environment(**environment(tmp_path, address))
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, env=own, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    said = done.stderr.splitlines()
    assert len(said) == len(ASKING)
    for line in said:
        assert "no login was given; HTTP status 401" in line
        assert "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in line
    assert made_there(folder) == before


@pytest.mark.parametrize(
    ("login", "why"),
    [
        ({"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": "wrong"}, "user admin; HTTP status 401"),
        ({"MLFLOW_TRACKING_USERNAME": "admin"}, "a name without a password"),
        ({"MLFLOW_TRACKING_TOKEN": "of somebody"}, "a token was given; HTTP status 4"),
    ],
)
def test_a_wrong_login_is_refused_by_trainings_and_by_the_doctor(guarded, tmp_path, login, why):
    folder, address = guarded
    before = made_there(folder)
    assert why in registered.run(folder, *TRAIN, code=2, **environment(tmp_path, address), **login)
    assert made_there(folder) == before
    checked = registered.run(folder, "doctor", code=1, **environment(tmp_path, address), **login)
    (line,) = [line for line in checked.splitlines() if " tracking " in line]
    assert line.startswith("wrong")
    assert why in line


def test_the_login_in_mlflows_own_file_counts(guarded, tmp_path):
    folder, address = guarded
    (tmp_path / ".mlflow").mkdir()
    login = f"[mlflow]\nmlflow_tracking_username = admin\nmlflow_tracking_password = {servers.PASSWORD}\n"
    (tmp_path / ".mlflow" / "credentials").write_text(login)
    registered.run(folder, "sync", **environment(tmp_path, address))
    registered.run(folder, *TRAIN, **environment(tmp_path, address))


def test_who_may_only_look_at_an_experiment_trains_and_judges_nothing(guarded, tmp_path):
    folder, address = guarded
    before = made_there(folder)
    reader = environment(tmp_path, address, "reader", servers.PASSWORD)
    said = registered.run(folder, *TRAIN, code=2, **reader)
    assert (
        "does not allow this login to write to the experiment diffusion-digits (user reader; HTTP status 403)" in said
    )
    assert [
        name for name in made_there(folder) if name not in before and name.endswith((".ckpt", "journal.jsonl"))
    ] == []
    said = registered.run(folder, "evaluate", "diffusion", "--timesteps", "6", code=2, **reader)
    assert "does not allow this login to write to the run of models/diffusion/T6 (user reader; HTTP status 403)" in said
    registered.run(folder, *TRAIN, **reader | {"STEPLADDER_TRACKING": "journal"})


def test_prefect_with_a_password(tmp_path: Path):
    secret = f"team:{servers.PASSWORD}"
    with servers.prefect(tmp_path, PREFECT_SERVER_API_AUTH_STRING=secret) as api:
        assert httpx.post(f"{api}/flow_runs/filter", json={}, timeout=60).status_code == 401
        member = servers.environment(PREFECT_API_URL=api, PREFECT_HOME=str(tmp_path / "home"))
        command = ["prefect", "work-pool", "create", "--type", "process", "stepladder"]
        servers.run(command, tmp_path, member, code=1)
        servers.run(command, tmp_path, member | {"PREFECT_API_AUTH_STRING": secret})

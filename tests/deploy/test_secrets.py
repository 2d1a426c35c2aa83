"""Secrets of the environment are in no file that a training, an evaluation and a registration leave, nor in what they say."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from stepladder import history
from tests import registered

SECRETS = {
    "MLFLOW_TRACKING_USERNAME": "user-4f1d0a",
    "MLFLOW_TRACKING_PASSWORD": "password-9c2e7b",
    "MLFLOW_TRACKING_TOKEN": "token-71aa3c",
    "AWS_ACCESS_KEY_ID": "AKIA5B6D2F9E8C7A",
    "AWS_SECRET_ACCESS_KEY": "secret-e830d4",
    "PREFECT_API_AUTH_STRING": "someone:auth-b7730e",
    "PREFECT_API_KEY": "pnu-66c0f2",
    "PGPASSWORD": "database-2d90be",
    "HF_TOKEN": "hf-aa81f0",
}
STEPS = (
    "prepare images", "train feature-net", "train diffusion --timesteps 6", "evaluate diffusion --timesteps 6",
    "prepare text", "train transformer", "evaluate transformer", "compare", "register", "report", "doctor",
)  # fmt: skip


def holding(folder: Path, secrets: list[bytes]) -> list[str]:
    """The files of ``folder`` in whose content or name a secret is."""
    found = []
    for file in folder.rglob("*"):
        content = bytes(file.relative_to(folder)) + (file.read_bytes() if file.is_file() else b"")
        found += [f"{file.relative_to(folder)}: {secret!r}" for secret in secrets if secret in content]
    return found


@pytest.mark.slow
def test_no_secret_of_the_environment_is_in_a_file_or_a_line(tmp_path: Path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "dvc.yaml").write_text("stages: {}\n")
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in SECRETS.items()))
    (folder / ".gitignore").write_text(".env\n/data\n/models\n/reports\n/mlruns\n/.checkpoints\n")
    (folder / "code.py").write_text("before = 1\n")
    registered.write(folder)
    registered.git(folder, "init", "-q")
    registered.git(folder, "add", ".")
    registered.git(folder, "commit", "-qm", "a project")
    (folder / "code.py").write_text("after = 1\n")  # so that there is a code.diff
    script = (
        "from stepladder.cli import main\n"
        f"for step in {STEPS}: assert main(step.split()) in (0, *[1] * (step == 'doctor')), step"
    )
    own = registered.environment(**SECRETS, MLFLOW_TRACKING_URI=f"sqlite:///{folder}/mlruns/mlflow.db")
    (folder / "mlruns").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=own, capture_output=True, text=True, timeout=550
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    secrets = [secret.encode() for secret in SECRETS.values()]
    (tmp_path / "planted").mkdir()
    os.replace(folder / ".env", tmp_path / "planted" / ".env")
    assert len(holding(tmp_path / "planted", secrets)) == len(SECRETS)  # the search finds what is there
    written = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    for file in ("mlruns/mlflow.db", "reports/index.html", "reports/registered.json", *(
        f".history/{history.key(folder / 'models/diffusion/T6')}/{name}"
        for name in ("run.json", "journal.jsonl", "origin/packages.txt", "origin/environment.json", "origin/code.diff")
    )):  # fmt: skip
        assert file in written
    assert holding(folder, secrets) == []
    assert not [secret for secret in SECRETS.values() if secret in said]


SERVER = "http://user-4f1d0a:{}@127.0.0.1:{}"


@pytest.mark.slow
def test_password_in_the_address_of_a_server_is_nowhere(tmp_path: Path):
    from tests.deploy import servers

    password = "p@ss/word-9c2e7b"
    with servers.mlflow(tmp_path, f"sqlite:///{tmp_path}/mlflow.db", str(tmp_path / "artifacts")) as address:
        folder = tmp_path / "project"
        folder.mkdir()
        (folder / "dvc.yaml").write_text("stages: {}\n")
        registered.write(folder)
        uri = SERVER.format(quote(password, safe=""), address.rpartition(":")[2])
        own = {"MLFLOW_TRACKING_URI": uri, "STEPLADDER_SLOTS_FOLDER": str(tmp_path / "slots")}
        said = ""
        for step in ("prepare images", "train diffusion --timesteps 6"):
            said += registered.run(folder, *step.split(), **own)
        said += registered.run(folder, "doctor", code=1, **own)  # there is no git, which is not what is asked here
    assert history.key(folder / "models/diffusion/T6")
    assert (tmp_path / "artifacts").exists()
    secrets = [password.encode(), quote(password, safe="").encode(), b"word-9c2e7b"]
    assert holding(tmp_path, secrets) == []
    assert "word-9c2e7b" not in said

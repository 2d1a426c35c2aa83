"""Real servers for a test: PostgreSQL, MLflow, Prefect, S3; each a process of its own on a loopback port, ended with it."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.browser.conftest import free_port

PASSWORD = "a-password-of-the-tests"
BIN = str(Path(sys.executable).parent)
QUIET = {
    "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "DVC_NO_ANALYTICS": "1", "PYTHONUNBUFFERED": "1",
    "OMP_NUM_THREADS": "1", "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}  # fmt: skip


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without what names servers of its own, and with the test's."""
    ours = ("PREFECT_", "MLFLOW_", "STEPLADDER_", "DVC_", "AWS_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    return kept | QUIET | {"PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"} | variables


def run(command: list[str], folder: Path, environment: dict[str, str], code: int = 0) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == code, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


@contextmanager
def started(command: list[str], log: Path, environment: dict[str, str], address: str = "") -> Iterator[psutil.Popen]:
    """``command`` as a process with its log in a file, once ``address`` answers; it and all it started end with the block."""
    with log.open("ab") as output:
        process = psutil.Popen(command, cwd=log.parent, env=environment, stdout=output, stderr=output)
    try:
        end = time.monotonic() + 240
        while address and not answers(address):
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < end, log.read_text()[-3000:]
            time.sleep(0.2)
        yield process
    finally:
        end_all(process)


def end_all(process: psutil.Process) -> None:
    """SIGKILL to a process and all that it started, as when their machine is gone."""
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=30)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        return error.code in (401, 403)
    except OSError:
        return False


def postgres_programs() -> Path | None:
    """The folder of PostgreSQL's programs, of Debian's newest version or on PATH; ``None`` where there are none."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda file: int(file.parts[-3]))
    found = [str(debian[-1])] if debian else [shutil.which("postgres")]
    return Path(found[0]).parent if found[0] else None


class Postgres:
    """A PostgreSQL with a folder of its own, which only its superuser's socket and passwords on loopback open."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs, self.folder, self.port = programs, folder, free_port()
        runuser = shutil.which("runuser", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or "runuser"
        self.as_user = [runuser, "-u", "postgres", "--"] if os.getuid() == 0 else []  # it refuses to run as root

    def command(self, program: str, *arguments: str) -> list[str]:
        return [*self.as_user, str(self.programs / program), *arguments]

    def run(self, program: str, *arguments: str, **variables: str) -> str:
        return run(self.command(program, *arguments), self.folder, environment(**variables))

    def sql(self, statement: str, database: str = "postgres") -> str:
        where = ["-h", str(self.folder), "-p", str(self.port), "-U", "postgres", "-d", database]
        return self.run("psql", *where, "-v", "ON_ERROR_STOP=1", "-Atc", statement)

    def database(self, name: str) -> str:
        """A new database of a user of its own, USER@HOST:PORT/DATABASE; ``PGPASSWORD`` is ``PASSWORD``."""
        self.sql(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
        self.sql(f"CREATE DATABASE {name} OWNER {name}")
        return f"{name}@127.0.0.1:{self.port}/{name}"


@contextmanager
def postgres() -> Iterator[Postgres]:
    programs = postgres_programs()
    assert programs is not None
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    server = Postgres(programs, folder)
    if server.as_user:
        shutil.chown(folder, "postgres", "postgres")
    try:
        local = ["--auth-local=trust", "--auth-host=scram-sha-256", "-U", "postgres", "--no-sync"]
        server.run("initdb", "-D", str(folder / "data"), "--encoding=UTF8", "--locale=C.UTF-8", *local)
        where = ["-h", "127.0.0.1", "-p", str(server.port), "-k", str(folder), "-F"]
        server.run("pg_ctl", "-D", str(folder / "data"), "-w", "-t", "240", "-l", str(folder / "log"), "-o", " ".join(where), "start")  # fmt: skip
        try:
            yield server
        finally:
            server.run("pg_ctl", "-D", str(folder / "data"), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def mlflow(folder: Path, backend: str, artifacts: str, *options: str, **variables: str) -> Iterator[str]:
    """An MLflow server that hands out artifacts itself; its address."""
    port = free_port()
    command = [
        f"{BIN}/mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--serve-artifacts", "--artifacts-destination", artifacts, *options,
    ]  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    with started(
        command,
        folder / "mlflow.log",
        environment(MLFLOW_BACKEND_STORE_URI=backend, PGPASSWORD=PASSWORD, **variables),
        f"{address}/health",
    ):
        yield address


@contextmanager
def prefect(folder: Path, database: str = "", **variables: str) -> Iterator[str]:
    """A Prefect server; the address of its API."""
    port = free_port()
    own = {"PREFECT_HOME": str(folder / "prefect-server"), "PGPASSWORD": PASSWORD} | variables
    if database:
        own["PREFECT_API_DATABASE_CONNECTION_URL"] = f"postgresql+asyncpg://{database}"
    api = f"http://127.0.0.1:{port}/api"
    command = [f"{BIN}/prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with started(command, folder / "prefect.log", environment(**own), f"{api}/health"):
        yield api


@contextmanager
def s3(folder: Path) -> Iterator[dict[str, str]]:
    """A stand-in for S3 with an empty bucket ``team``; the environment that leads boto3 to it."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [f"{BIN}/moto_server", "-H", "127.0.0.1", "-p", str(port)]
    with started(command, folder / "s3.log", environment(), f"{address}/moto-api/"):
        keys = {"AWS_ACCESS_KEY_ID": "team", "AWS_SECRET_ACCESS_KEY": "team-secret", "AWS_DEFAULT_REGION": "us-east-1"}
        where = keys | {"AWS_ENDPOINT_URL": address, "MLFLOW_S3_ENDPOINT_URL": address}
        script = "import boto3; boto3.client('s3').create_bucket(Bucket='team')"
        run([sys.executable, "-c", script], folder, environment(**where))
        yield where

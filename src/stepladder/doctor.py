"""``stepladder doctor``: what this machine has, what is wrong, and how to fix it. It never raises and is never slow."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from stepladder import installed, project
from stepladder.errors import UserError

NEEDED = (3, 11)
FREE_GIGABYTES = {"wrong": 0.5, "warn": 5.0}
SECONDS = 8.0


@dataclass(frozen=True)
class Finding:
    """The result of one check: ``text`` describes the state; for ``warn`` and ``wrong`` also how to fix it."""

    verdict: Literal["ok", "warn", "wrong"]
    text: str


Check = Callable[[], Finding]


def run() -> int:
    """Print a line for each check, in a fixed order; returns 1 where something is wrong, else 0. Checks run in parallel."""
    root = project.root().resolve()
    checks: dict[str, Check] = {
        "python": python,
        "torch": torch,
        "disk": partial(disk, root),
        "git": partial(git, root),
        "dvc": partial(dvc, root),
        "tracking": tracking,
        "prefect": prefect,
        "parameters": partial(parameters, root),
        "data": partial(data, root),
    }
    with ThreadPoolExecutor(len(checks)) as pool:
        futures = {name: pool.submit(_safely, check) for name, check in checks.items()}
        findings = {name: future.result() for name, future in futures.items()}
    for name, finding in findings.items():
        print(f"{finding.verdict:<6} {name:<11} {finding.text}")
    wrong = sum(finding.verdict == "wrong" for finding in findings.values())
    if wrong:
        print(f"\n{wrong} of {len(findings)} checks found something wrong; each line above says how to mend it.")
    return int(bool(wrong))


def cache() -> int:
    """Check all objects of DVC's cache; prints a line with the remedy for each damaged one, and returns 1 if there are any."""
    from stepladder import dvc_cache

    count, damaged = dvc_cache.verify(project.root())
    for each in damaged:
        remedy = (
            f"dvc repro --force --single-item {' '.join(each.stages)}" if each.stages else "no dvc.lock here names it"
        )
        print(f"{each.name} is not what its name says: put aside in {dvc_cache.DAMAGED}; {remedy}")
    print(f"{count} objects read, {len(damaged)} damaged.")
    return int(bool(damaged))


def _safely(check: Check) -> Finding:
    try:
        return check()
    except UserError as error:
        return Finding("wrong", str(error))
    except Exception as error:
        return Finding(
            "wrong", f"the check itself failed ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
        )


def python() -> Finding:
    """Whether Python is as new as ``NEEDED``."""
    version = platform.python_version()
    if sys.version_info < NEEDED:
        return Finding("wrong", f"{version} of {sys.executable}; 3.11 or later is needed: make PYTHON=python3.11 repro")
    return Finding("ok", f"{version}, {sys.executable}")


def torch() -> Finding:
    """Versions and GPUs of torch, from a separate process: its import takes seconds, and a broken driver can end the process."""
    code = (
        "import json, torch; n = torch.cuda.device_count(); "
        "print(json.dumps([torch.__version__, [torch.cuda.get_device_name(i) for i in range(n)], torch.version.cuda]))"
    )
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return Finding(
            "warn",
            f"{_version('torch')}, importing it takes more than {SECONDS:.0f} s: is the machine busy, or its disk slow?",
        )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["without a word"])[-1]
        return Finding("wrong", f"cannot be imported ({last}); {installed.pip(project.root())}")
    version, names, cuda = json.loads(done.stdout.splitlines()[-1])
    cores = f"{os.cpu_count()} processor cores"
    if names:
        return Finding("ok", f"{version}, {len(names)} GPU ({', '.join(sorted(set(names)))}), {cores}")
    if cuda and shutil.which("nvidia-smi"):
        return Finding(
            "warn",
            f"{version}, built for CUDA {cuda}, sees no GPU though nvidia-smi is there; update the driver; {cores}",
        )
    return Finding("ok", f"{version}, no GPU, {cores}")


def disk(root: Path) -> Finding:
    """Gigabytes free on the disk of ``root``: wrong or a warning below ``FREE_GIGABYTES``."""
    free = shutil.disk_usage(root).free / 1e9
    text = f"{free:.1f} GB free at {root}"
    for verdict in ("wrong", "warn"):
        if free < FREE_GIGABYTES[verdict]:
            advice = "`dvc gc -w` removes what the cache no longer needs"
            return Finding("wrong" if verdict == "wrong" else "warn", f"{text}; {advice}")
    return Finding("ok", text)


def git(root: Path) -> Finding:
    """Whether git is installed and ``root`` has a commit."""
    if shutil.which("git") is None:
        return Finding("wrong", "git is not installed; DVC experiments and the record of the code need it")
    done = subprocess.run(
        ["git", "-C", str(root), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, timeout=SECONDS
    )
    if done.returncode:
        return Finding("warn", f"{root} has no commit, so no experiments; git init && git add . && git commit -m start")
    return Finding("ok", f"at {done.stdout.strip()}")


def dvc(root: Path) -> Finding:
    """Whether DVC is installed, ``root`` is a DVC project, and its cache can be written to."""
    from stepladder import stages

    version = _version("dvc")
    if version is None:
        return Finding("warn", f"not installed: stages run only by hand; {installed.pip(root)}")
    if not (root / ".dvc").is_dir():
        return Finding(
            "wrong", f"{root} is not a DVC project; run in a project's folder, or make one: `stepladder new FOLDER`"
        )
    if not (root / "dvc.yaml").exists():
        return Finding("wrong", f"{root} has no dvc.yaml; git checkout dvc.yaml")
    stages.check(root)
    cache = root / ".dvc" / "cache"
    place = cache if cache.exists() else root / ".dvc"
    if not os.access(place, os.W_OK):
        return Finding("wrong", f"{place} cannot be written to; mend its permissions")
    return Finding("ok", f"{version}, cache {'at ' + str(cache) if cache.exists() else 'empty'}")


def tracking() -> Finding:
    """Whether there is a tracking store; raises ``UserError`` where it does not answer."""
    from stepladder.tracking import health, store

    if not store.uri():
        return Finding("warn", "no store: figures stay in journals, and `stepladder sync` sends them later")
    health.check()
    return Finding("ok", f"MLflow {_version('mlflow')}, {_without_password(store.uri())}")


def prefect() -> Finding:
    """Whether Prefect is installed with a FastAPI that it works with, and the server that the environment names answers."""
    version, fastapi = _version("prefect"), _version("fastapi")
    if version is None:
        return Finding("warn", f"not installed: no flows, `dvc repro` does without; {installed.pip(project.root())}")
    if fastapi and tuple(int(part) for part in fastapi.split(".")[:2]) > (0, 144):
        return Finding(
            "wrong", f"{version} with fastapi {fastapi}, which breaks its server; pip install 'fastapi<=0.144.0'"
        )
    api = os.environ.get("PREFECT_API_URL", "").rstrip("/")
    if not api:
        return Finding("ok", f"{version}; no server is named: `{installed.pages(project.root())}` starts one")
    try:
        with urllib.request.urlopen(f"{api}/health", timeout=3):
            return Finding("ok", f"{version}, server {_without_password(api)}")
    except urllib.error.HTTPError as error:
        return Finding("warn", f"{version}, server {_without_password(api)} answers {error.code} {error.reason}")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return Finding(
            "wrong",
            f"PREFECT_API_URL={_without_password(api)} does not answer ({reason}); start it, or unset the variable",
        )


def parameters(root: Path) -> Finding:
    """Sources and T of the parameters of ``root``; raises ``UserError`` where they are not valid."""
    from stepladder import params

    loaded = params.load(root / params.PARAMS_FILE)
    timesteps = ", ".join(map(str, loaded.sweep.timesteps))
    return Finding("ok", f"valid: {loaded.images.source} at T={timesteps}; {loaded.text.source}")


def data(root: Path) -> Finding:
    """Which data is prepared, and whether it is up to date with the parameters and the present sources."""
    from stepladder import params
    from stepladder.data import source

    prepared = ", ".join(_prepared(root / "data"))
    if not prepared:
        return Finding("warn", "none is prepared; `dvc repro prepare` makes it")
    loaded = params.load(root / params.PARAMS_FILE)
    unreachable = source.refresh(loaded, root)
    reasons = (source.changed(key, getattr(loaded, key), root / "data" / key) for key in source.KEYS)
    if changed := list(filter(None, reasons)):
        return Finding("warn", f"prepared: {prepared}; {'; '.join(changed)}: `dvc repro` prepares it again")
    if unreachable:
        return Finding("warn", f"prepared: {prepared}; whether that is still so is not known: {' '.join(unreachable)}")
    return Finding("ok", f"prepared: {prepared}")


def _prepared(folder: Path) -> Iterator[str]:
    for card in sorted(folder.glob("*/card.json")):
        content = json.loads(card.read_text(encoding="utf-8"))
        yield f"{content.get('name') or card.parent.name} ({', '.join(f'{n} {split}' for split, n in content.get('counts', {}).items())})"


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _without_password(address: str) -> str:
    scheme, separator, rest = address.partition("://")
    return scheme + separator + rest.rpartition("@")[2]

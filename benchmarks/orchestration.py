"""What the orchestration costs: a stage through a flow against `dvc repro`, doing nothing, memory of the servers, page loads.

    python benchmarks/orchestration.py --out benchmarks/results/orchestration.json

In a copy of the project, with its own servers on free ports: the stage ``train-diffusion@10`` (a few steps) is made anew by
`dvc repro` and by the flow ``train``, in alternation; seconds are minima over the rounds. Needs no network, and Chromium for
the pages.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psutil

from stepladder.params import build, render

ROOT = Path(__file__).parent.parent
STAGE = "train-diffusion@10"
VALUES = {
    "sweep": {"timesteps": [10], "sampling_steps": [1, 5]},
    "feature_net": {"steps": 60},
    "diffusion": {"training": {"steps": 20, "warmup_steps": 5, "validate_every": 20}},
    "text": {"limit": 1500},
    "transformer": {"d_model": 32, "d_ff": 64, "training": {"steps": 20, "warmup_steps": 5, "validate_every": 20}},
    "evaluation": {"samples": 60, "bootstrap": 20},
}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FIVE_MINUTES = 300.0


def project(folder: Path) -> None:
    """A committed copy of the project with small parameters."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        if (ROOT / name).exists() and not name.startswith(("tests", "studies", "docs")) and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / "params.yaml").write_text(render(build(VALUES)), encoding="utf-8")
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=b", "-c", "user.email=b@b", "commit", "-qm", "b"]):
        subprocess.run(["git", *command], cwd=folder, check=True)


def environment(folder: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_", "STEPLADDER_", "DVC_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    own = {"PATH": path, "PYTHONPATH": f"src{os.pathsep}{ROOT}", "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1"}
    return kept | own | {"STEPLADDER_SLOTS_FOLDER": str(folder.parent / "slots")}


def seconds(command: list[str], folder: Path) -> tuple[float, float]:
    """Wall and processor seconds of ``command`` and all that it starts."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, env=environment(folder), check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, processor


@contextmanager
def served(folder: Path) -> Iterator[tuple[dict[str, str], int]]:
    """The addresses of `make ui` in ``folder``, and its process."""
    names = ("PREFECT", "MLFLOW", "REPORTS")
    ports = {name: _free_port() for name in names}
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.serve"], cwd=folder, stdout=subprocess.PIPE, text=True,
        env=environment(folder) | {f"STEPLADDER_{name}_PORT": str(port) for name, port in ports.items()},
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("Ctrl-C"):
            break
    try:
        yield {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}, process.pid
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(90)


def stage_made_anew(folder: Path, prefect: str, pid: int, rounds: int) -> dict[str, Any]:
    """The same stage by `dvc repro` and by the flow, which ask DVC about ``prepare@images`` first, as both must.

    Wall seconds are the run's own, from its start to its end; on a busy machine their difference is mostly noise, and
    processor seconds, of the run's process and all that it starts, say more.
    """
    subprocess.run(["dvc", "repro", STAGE], cwd=folder, env=environment(folder), check=True, capture_output=True)
    lock = (folder / "dvc.lock").read_text()
    deployment = httpx.get(f"{prefect}/api/deployments/name/train/this-machine").json()["id"]
    kinds: dict[str, list[float]] = {
        kind: [] for kind in ("dvc", "dvc_cpu", "flow", "flow_cpu", "flow_from_submission")
    }
    for _ in range(rounds):
        _forget(folder, lock)
        wall, processor = seconds(["dvc", "repro", STAGE], folder)
        kinds["dvc"].append(wall)
        kinds["dvc_cpu"].append(processor)
        _forget(folder, lock)
        began, processor = time.perf_counter(), 0.0
        run = httpx.post(f"{prefect}/api/deployments/{deployment}/create_flow_run", json={}, timeout=60).json()
        while run["state"]["type"] not in ("COMPLETED", "FAILED", "CRASHED"):
            time.sleep(0.1)
            processor = max(processor, _engine_cpu(pid))
            run = httpx.get(f"{prefect}/api/flow_runs/{run['id']}", timeout=60).json()
        assert run["state"]["type"] == "COMPLETED", run["state"]
        kinds["flow_from_submission"].append(time.perf_counter() - began)
        kinds["flow"].append((_time(run["end_time"]) - _time(run["start_time"])).total_seconds())
        kinds["flow_cpu"].append(processor)
        print({kind: round(values[-1], 1) for kind, values in kinds.items()}, flush=True)
    wall, processor = (min(kinds[f"flow{kind}"]) - min(kinds[f"dvc{kind}"]) for kind in ("", "_cpu"))
    return {
        "stage": STAGE,
        "seconds": kinds,
        "overhead_wall_seconds": wall,
        "overhead_cpu_seconds": processor,
        "share_of_five_minutes": wall / FIVE_MINUTES,
        "overhead_from_submission_wall_seconds": min(kinds["flow_from_submission"]) - min(kinds["dvc"]),
    }


def _engine_cpu(pid: int) -> float:
    """Processor seconds so far of the process of the flow run, its imports and all stages that have ended included."""
    for process in psutil.Process(pid).children(recursive=True):
        try:
            if "prefect.engine" in process.cmdline():
                return sum(process.cpu_times()[:4])
        except psutil.Error:
            continue
    return 0.0


def memory(pid: int) -> dict[str, float]:
    """Megabytes by server: proportional set size, which counts shared pages once."""
    kinds = {
        "prefect": "prefect server",
        "mlflow": "mlflow",
        "reports": "http.server",
        "flows": "pipelines.deployments",
    }
    found = dict.fromkeys(kinds, 0.0)
    for child in psutil.Process(pid).children():
        command = " ".join(child.cmdline())
        kind = next((kind for kind, words in kinds.items() if words in command), None)
        kind = kind or ("prefect" if "prefect" in command else "mlflow")
        for member in (child, *child.children(recursive=True)):
            found[kind] += member.memory_full_info().pss / 1e6
    return found | {"prefect_and_mlflow": found["prefect"] + found["mlflow"]}


def page_loads(addresses: dict[str, str], rounds: int) -> dict[str, dict[str, float]]:
    """Seconds until a page's load event, and until words of its content are there: minima, the browser's cache warm."""
    from playwright.sync_api import sync_playwright

    executable = next(filter(None, map(shutil.which, BROWSERS)))
    prefect = addresses["PREFECT"]
    run = httpx.post(f"{prefect}/api/flow_runs/filter", json={"limit": 1}).json()[0]
    deployment = httpx.get(f"{prefect}/api/deployments/name/sweep/this-machine").json()["id"]
    pages = {
        "prefect deployments": (f"{prefect}/deployments", "this-machine"),
        "prefect form of sweep": (f"{prefect}/deployments/deployment/{deployment}/run", "timesteps"),
        "prefect run": (f"{prefect}/runs/flow-run/{run['id']}", "Beginning flow run"),
        "mlflow experiments": (f"{addresses['MLFLOW']}/#/experiments", "diffusion-digits"),
        "report": (f"{addresses['REPORTS']}/index.html", "What was run"),
    }
    found = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.set_default_timeout(120_000)
        for name, (address, words) in pages.items():
            loads, contents = [], []
            for _ in range(rounds):
                page.goto("about:blank")
                began = time.perf_counter()
                page.goto(address, wait_until="load")
                loads.append(time.perf_counter() - began)
                page.get_by_text(words).first.wait_for()
                contents.append(time.perf_counter() - began)
            found[name] = {"load_seconds": min(loads), "content_seconds": min(contents)}
            print(f"{name}: load {min(loads):.2f} s, content {min(contents):.2f} s", flush=True)
        browser.close()
    return found


def _forget(folder: Path, lock: str) -> None:
    """Make ``STAGE`` stale: neither its entry in dvc.lock, nor DVC's memory of earlier runs, nor its result stays."""
    import yaml

    locked = yaml.safe_load(lock)
    locked["stages"].pop(STAGE)
    (folder / "dvc.lock").write_text(yaml.safe_dump(locked, sort_keys=False))
    for made in (folder / ".dvc" / "cache" / "runs", folder / "models" / "diffusion"):
        shutil.rmtree(made, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as any_free:
        any_free.bind(("127.0.0.1", 0))
        return int(any_free.getsockname()[1])


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def measure(folder: Path, rounds: int) -> dict[str, Any]:
    project(folder)
    with served(folder) as (addresses, pid):
        stage = stage_made_anew(folder, addresses["PREFECT"], pid, rounds)
        print("the rest of the pipeline, for the pages ...", flush=True)
        subprocess.run(["dvc", "repro"], cwd=folder, env=environment(folder), check=True, capture_output=True)
        nothing = [seconds(["dvc", "repro"], folder) for _ in range(rounds)]
        pages = page_loads(addresses, rounds)
        servers = memory(pid)
    return {
        "stage_through_a_flow": stage,
        "nothing_to_do": {"wall_seconds": min(n[0] for n in nothing), "cpu_seconds": min(n[1] for n in nothing)},
        "memory_megabytes": servers,
        "pages": pages,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    load: Callable[[], str] = lambda: " ".join(f"{value:.1f}" for value in os.getloadavg())  # noqa: E731
    before = load()
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(Path(scratch) / "project", args.rounds)
    machine = {"cores": os.cpu_count(), "machine": platform.platform(), "load_before": before, "load_after": load()}
    text = json.dumps({"machine": machine, "rounds": args.rounds, **found}, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

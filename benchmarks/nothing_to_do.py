"""How long ``dvc repro`` takes that has nothing to do, beside ``dvc version``, which reads no graph: in turn, in one run.

    python benchmarks/nothing_to_do.py FOLDER [FOLDER ...] --out result.json

Each FOLDER is a checkout whose job is finished (``dvc repro`` says that all is up to date). Needs no network.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import time
from pathlib import Path

ROUNDS = 15


def seconds(command: list[str], folder: Path) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert "Running stage" not in done.stdout, f"{folder} is not finished: {done.stdout[:200]}"
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    rows: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for folder in given.folders:
            rows.setdefault(f"dvc repro, {folder.name}", []).append(seconds(["dvc", "repro"], folder))
        rows.setdefault("dvc version", []).append(seconds(["dvc", "version"], given.folders[0]))
    found = {
        name: {"median": round(statistics.median(each), 2), "each": [round(one, 2) for one in each]}
        for name, each in rows.items()
    }
    result = {
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "seconds": found,
    }
    given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for name, row in found.items():
        print(f"{name}: {row['median']} s")


if __name__ == "__main__":
    main()

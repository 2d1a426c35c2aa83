"""Adapt a model of the digits 0 to 7 to a small folder of 8s and 9s: low-rank changes against all weights.

    python benchmarks/adaptation.py --out benchmarks/results/adaptation.json

Writes scikit-learn's digits as PNG files, those of the classes 0 to 7 as the pictures that the base model is trained on, and
``--pictures`` of each of the others as one's own, their rest held out. In a copy of the project it then runs the stages themselves:
``dvc repro`` for the base model and the feature network, ``dvc repro graphs/adaptation/dvc.yaml`` for the rest. Needs no network.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from stepladder.params import build, merge, override, render

TIMESTEPS = 200
NEW = (8, 9)
SHOWN = {"new": ("frechet", "recognised", "precision", "recall", "memorised"), "old": ("frechet", "accuracy")}
ROOT = Path(__file__).parent.parent


def write_digits(folder: Path, pictures: int) -> None:
    """``folder/known/CLASS``; ``folder/own/train/CLASS`` with ``pictures`` each, and the rest in ``folder/own/test/CLASS``."""
    digits = load_digits()
    counted = dict.fromkeys(NEW, 0)
    for i, (image, label) in enumerate(zip(digits.images, digits.target.tolist(), strict=True)):
        home = folder / "known" / str(label)
        if label in NEW:
            counted[label] += 1
            home = folder / "own" / ("train" if counted[label] <= pictures else "test") / str(label)
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.round(image * (255 / 16)).astype(np.uint8)).save(home / f"{i:04d}.png")


def project(folder: Path, pictures: int, overrides: list[str]) -> None:
    """A copy of the project in ``folder``, with the digits and the parameters."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        if (ROOT / name).exists() and not name.startswith(("tests", "studies")) and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    shutil.copy(folder / "graphs" / "adaptation" / "stages.yaml", folder / "graphs" / "adaptation" / "dvc.yaml")
    write_digits(folder / "digits", pictures)
    values: dict[str, Any] = {
        "images": {"source": "digits/known"},
        "sweep": {"timesteps": [TIMESTEPS], "sampling_steps": [20]},
        "adaptation": {"model": f"models/diffusion/T{TIMESTEPS}", "pictures": "digits/own"},
    }
    for text in overrides:
        values = merge(values, override(text))
    (folder / "params.yaml").write_text(render(build(values)), encoding="utf-8")
    run(folder, "git", "init", "-q")


def run(folder: Path, *command: str) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": "src", "STEPLADDER_TRACKING": "journal"}
    environment.pop("DVC_ROOT", None)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


def figures(folder: Path) -> dict[str, Any]:
    """Of the model before, and of each method: what it draws, and what it trained."""
    found: dict[str, Any] = {}
    for name in ("before", "lora", "full"):
        metrics = json.loads((folder / "reports" / "adapted" / name / "metrics.json").read_text(encoding="utf-8"))
        found[name] = {part: {key: metrics[part].get(key) for key in keys} for part, keys in SHOWN.items()}
        if name != "before":
            model = folder / "models" / "adapted" / name
            trained = json.loads((model / "run.json").read_text(encoding="utf-8"))["figures"]
            found[name] |= {key: trained[key] for key in ("parameters", "trained_parameters", "seconds", "steps")}
            sizes = {file.stem: file.stat().st_size for file in model.glob("*.safetensors")}
            found[name]["bytes"] = sizes
        found["floor"] = {part: {key: metrics["floor"][part].get(key) for key in keys} for part, keys in SHOWN.items()}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "adaptation.json")
    parser.add_argument("--pictures", type=int, default=20, help="own pictures of each new class to learn from")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("-S", "--set", action="append", default=[], metavar="KEY=VALUE", help="change a parameter")
    parser.add_argument("--strips", type=Path, help="folder for the pictures drawn with the first seed")
    args = parser.parse_args()
    rows = []
    for seed in range(args.seeds):
        with tempfile.TemporaryDirectory(prefix="adaptation-") as temporary:
            folder = Path(temporary)
            project(folder, args.pictures, [f"seed={seed}", *args.set])
            run(folder, "dvc", "repro", "feature-net", f"train-diffusion@{TIMESTEPS}")
            run(folder, "dvc", "repro", "graphs/adaptation/dvc.yaml")
            rows.append(figures(folder))
            print(json.dumps(rows[-1], indent=1), flush=True)
            if args.strips and not seed:
                for file in (folder / "reports" / "adapted").glob("*/*.png"):
                    args.strips.mkdir(parents=True, exist_ok=True)
                    shutil.copy(file, args.strips / f"adaptation-{file.parent.name}-{file.name}")
    result = {
        "command": "python benchmarks/adaptation.py " + " ".join(sys.argv[1:]),
        "device": platform.processor() or platform.machine(),
        "pictures": args.pictures,
        "seeds": rows,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

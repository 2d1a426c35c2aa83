"""The main job in a clone: `dvc repro`, again, with one T more, with other translation parameters; what the tools then say."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stepladder.params import build, render

pytestmark = pytest.mark.slow

TINY = {
    "feature_net": {"steps": 60, "width": 8},
    "sweep": {"timesteps": [2, 10], "sampling_steps": [1, 2, 5]},
    "diffusion": {
        "unet": {"channels": 16, "channel_mult": [1, 2]},
        "training": {"steps": 40, "batch_size": 32, "warmup_steps": 5, "validate_every": 20},
    },
    "text": {"limit": 1500},
    "transformer": {"d_model": 32, "d_ff": 64, "training": {"steps": 30, "warmup_steps": 5, "validate_every": 15}},
    "decoding": {"beam_size": 2, "max_length": 16},
    "evaluation": {"samples": 60, "bootstrap": 20},
}
TRAININGS = ("feature-net", "noisy-classifier", "train-diffusion@2", "train-diffusion@10", "train-transformer")


def write(folder: Path, **changes: object) -> None:
    (folder / "params.yaml").write_text(render(build(TINY | changes)))


class Clone:
    """The project in a folder of its own, with commands run as its user would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "DVC_ROOT")}
        tools = str(Path(sys.executable).parent)
        self.environment = kept | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": "src"}

    def __call__(self, *command: str, code: int = 0) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == code, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Clone:
    folder = tmp_path_factory.mktemp("main-job") / "clone"
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout
    for file in listed.splitlines():
        if Path(file).exists() and file != "dvc.lock":
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, folder / file)
    made = Clone(folder)
    write(folder)
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "t"]):
        made("git", *command)
    made("dvc", "repro")
    return made


def ran(output: str) -> set[str]:
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")}


def test_everything_is_made(clone):
    for file in (
        "index.html",
        "page.json",
        "comparison.json",
        "metrics.json",
        "registered.json",
        "figures/quality.png",
    ):
        assert (clone.folder / "reports" / file).exists(), file
    for model in ("feature-net", "diffusion/T2", "diffusion/T10", "transformer"):
        names = {f.name for f in (clone.folder / "models" / model).iterdir()}
        assert {"model.safetensors", "config.json", "training.json", "curve.jsonl"} <= names
        assert not [name for name in names if name.endswith((".ckpt", ".pt", ".pkl"))]
    assert clone("git", "status", "--porcelain").strip() == "?? dvc.lock", "what is made is not committed"


def test_a_second_repro_does_nothing(clone):
    assert "up to date" in clone("dvc", "repro")
    assert "up to date" in clone("dvc", "status")


def test_two_clones_give_the_same_lock(clone, tmp_path):
    """What DVC hashes is decided by code, data and parameters: a job done again elsewhere leaves what is committed as it is."""
    other = Clone(tmp_path / "other")
    clone("git", "clone", "-q", ".", str(other.folder))
    shutil.copy(clone.folder / "dvc.lock", other.folder)
    for command in (["add", "dvc.lock"], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "the lock"]):
        other("git", *command)
    assert {*TRAININGS, "evaluate-diffusion@10", "evaluate-transformer", "register", "report"} <= ran(
        other("dvc", "repro")
    )
    assert other("git", "status", "--porcelain") == ""
    assert (other.folder / "reports/index.html").exists()
    told = other("stepladder", "where")
    assert str(other.folder / "reports/index.html") in told
    assert "diffusion-digits version 1" in told


@pytest.mark.parametrize(
    ("file", "stale"),
    [
        ("data/shuffle.py", {*TRAININGS, "evaluate-transformer"}),
        ("data/bpe_dropout.py", {"train-transformer"}),
        ("diffusion/samplers/heun.py", {"evaluate-diffusion@2", "evaluate-diffusion@10", "register"}),
        ("reporting/report.py", {"report"}),
        ("text_tasks/tasks.py", {"compare", "register", "report"}),
        ("serving/app.py", set()),
        ("commands/drawing.py", set()),
    ],
)
def test_code_makes_stale_what_it_decides_and_nothing_else(clone, file, stale):
    source = clone.folder / "src/stepladder" / file
    text = source.read_text()
    source.write_text(text + "# changed\n")
    try:
        told = json.loads(clone("dvc", "status", "--json").split("\n")[0])
    finally:
        source.write_text(text)
    assert set(told) == stale


def test_the_runs_are_in_the_store_and_the_models_in_the_registry(clone):
    script = """
import json, mlflow
from mlflow import MlflowClient
from stepladder.tracking import store
client = store.client()
names = [e.name for e in client.search_experiments()]
runs = {r.data.params.get("timesteps"): r for r in client.search_runs(
    [client.get_experiment_by_name("diffusion-digits").experiment_id], "tags.`mlflow.parentRunId` != ''")}
picture = mlflow.pyfunc.load_model("models:/diffusion-digits@challenger").predict([{"label": "3"}], params={"steps": 2})
text = mlflow.pyfunc.load_model("models:/transformer-names@challenger").predict([{"source": "Ukraine"}])
print(json.dumps([names, sorted(runs), {t: sorted(r.data.metrics) for t, r in runs.items()}, list(picture.shape), len(text)]))
"""
    printed = clone(sys.executable, "-c", script).strip().splitlines()
    names, timesteps, metrics, shape, translations = json.loads(next(line for line in printed if line.startswith("[[")))
    assert {"diffusion-digits", "transformer-names"} <= set(names)
    assert timesteps == ["10", "2"]
    assert {"train/loss", "validation/loss", "eval/frechet", "eval/accuracy", "best_frechet"} <= set(metrics["10"])
    assert any(name.startswith("system/") for name in metrics["10"])
    assert shape == [1, 1, 8, 8]
    assert translations == 1


def test_dvc_shows_metrics_plots_and_parameters(clone):
    metrics = json.loads(clone("dvc", "metrics", "show", "--json").split("\n")[0])
    assert "T=10" in json.dumps(metrics)
    shown = clone("dvc", "plots", "show", "-o", "plots", "--json")
    for title in ("Frechet distance against sampling steps", "Losses", "chrF"):
        assert title in shown
    shutil.rmtree(clone.folder / "plots", ignore_errors=True)


def test_one_more_T_trains_one_model(clone):
    write(clone.folder, sweep={"timesteps": [2, 4, 10], "sampling_steps": [1, 2, 5]})
    assert "timesteps" in clone("dvc", "params", "diff")
    assert {s for s in ran(clone("dvc", "repro")) if "train" in s or "feature" in s} == {"train-diffusion@4"}


def test_other_translation_parameters_retrain_no_diffusion_model(clone):
    changed = TINY["transformer"] | {"dropout": 0.2}
    write(clone.folder, transformer=changed, sweep={"timesteps": [2, 4, 10], "sampling_steps": [1, 2, 5]})
    stages = ran(clone("dvc", "repro", "--dry"))
    assert "train-transformer" in stages
    assert not {s for s in stages if "diffusion" in s or s == "feature-net" or s.startswith("prepare")}
    stages = ran(clone("dvc", "repro", "--dry", "train-diffusion@10"))
    assert not stages


def test_an_experiment_leaves_the_workspace_as_it_is(clone):
    write(clone.folder)
    clone("dvc", "repro")
    before = (clone.folder / "params.yaml").read_text()
    clone("dvc", "exp", "run", "--temp", "-n", "wider", "-S", "decoding.beam_size=3")
    assert (clone.folder / "params.yaml").read_text() == before
    assert "wider" in clone("dvc", "exp", "show", "--csv")
    assert "up to date" in clone("dvc", "status")


def test_bad_parameters_stop_before_any_stage(clone):
    text = (clone.folder / "params.yaml").read_text()
    (clone.folder / "params.yaml").write_text(text.replace("timesteps: [2, 10]", "timesteps: [0, 10]"))
    refused = clone("stepladder", "params", "--check", code=2)
    assert refused.count("\n") == 1
    assert "sweep.timesteps.0" in refused
    (clone.folder / "params.yaml").write_text(text)


def test_only_pictures_is_half_of_the_job(clone):
    """No text is prepared, nothing is trained on it, and the rest works as ever."""
    write(clone.folder, text={"source": "none"})
    stages = ran(clone("dvc", "repro"))
    assert not [stage for stage in stages if "diffusion" in stage or stage == "feature-net"]
    assert "up to date" in clone("dvc", "status")
    assert not (clone.folder / "models/transformer/model.safetensors").exists()
    page = (clone.folder / "reports/index.html").read_text()
    assert "None: text.source is none." in page
    assert json.loads((clone.folder / "reports/comparison.json").read_text())["recommended"]
    told = clone("stepladder", "train", "transformer")
    assert "nothing, since text.source is none" in told
    assert "text.source is none" in clone("stepladder", "evaluate", "classifier", code=2)


def test_only_text_is_the_other_half(clone):
    write(clone.folder, images={"source": "none"})
    stages = ran(clone("dvc", "repro"))
    assert "train-transformer" not in stages, "it was trained before"
    assert "up to date" in clone("dvc", "status")
    assert not [t for t in (2, 10) if (clone.folder / f"models/diffusion/T{t}/model.safetensors").exists()]
    assert "None: images.source is none." in (clone.folder / "reports/index.html").read_text()
    assert json.loads((clone.folder / "reports/comparison.json").read_text())["translation"]["chrf"] >= 0
    for model in ("vae", "adapted"):
        assert "images.source is none" in clone("stepladder", "evaluate", model, code=2)

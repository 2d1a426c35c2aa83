"""The wheel, built and installed, and a project of it that knows nothing of this repository."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from stepladder import installed

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
TINY = [
    "text.source=none", "sweep.timesteps=[10]", "sweep.sampling_steps=[1]", "diffusion.unet.channels=16", "diffusion.unet.blocks=1",
    "diffusion.training.steps=2", "diffusion.training.warmup_steps=1", "diffusion.training.validate_every=2",
    "diffusion.training.batch_size=16",
]  # fmt: skip
STAGE = "train-diffusion@10"


def project_files() -> list[Path]:
    """What pyproject.toml says that a project is made of, as git has it."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = declared["tool"]["stepladder"]["project"]
    return sorted(path.relative_to(ROOT) for pattern in patterns for path in ROOT.glob(pattern))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built of a copy, offline, by the setuptools that is here."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in (*map(Path, ("setup.py", "pyproject.toml", "README.md", "LICENSE")), *project_files()):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    command = [*PIP, "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", out, source]
    subprocess.run(command, check=True)
    (found,) = out.glob("stepladder-*.whl")
    return found


@pytest.fixture
def site(wheel, tmp_path):
    """A folder that the wheel is installed in."""
    command = [*PIP, "install", "--quiet", "--no-deps", "--no-index", "--target", tmp_path / "site", wheel]
    subprocess.run(command, check=True)
    return tmp_path / "site"


@pytest.fixture
def call(site, tmp_path):
    """Runs a command with what is installed in ``site``, in a folder outside of the checkout."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("STEPLADDER_", "DVC_", "MLFLOW_"))}
    path = os.pathsep.join([str(site / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    own = {
        "PYTHONPATH": str(site),
        "PATH": path,
        "DVC_NO_ANALYTICS": "1",
        "OMP_NUM_THREADS": "1",
        "STEPLADDER_TRACKING": "journal",
    }

    def run(*words, folder=tmp_path / "project", code=0):
        done = subprocess.run(
            words, cwd=folder, env=kept | own, capture_output=True, text=True, check=False, timeout=500
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


@pytest.fixture
def made(call, tmp_path):
    """A tiny project, made by what is installed."""
    call("stepladder", "new", "project", *(word for value in TINY for word in ("-S", value)), folder=tmp_path)
    return tmp_path / "project"


def test_it_has_the_files_of_a_project_as_the_repository_has_them(wheel):
    with zipfile.ZipFile(wheel) as archive:
        inside = {name: archive.read(name) for name in archive.namelist()}
    template = "stepladder/template/"
    assert {name.removeprefix(template) for name in inside if name.startswith(template)} == set(
        map(str, project_files())
    )
    for name in project_files():
        assert inside[f"{template}{name}"] == (ROOT / name).read_bytes()
    sources = [
        path for path in (ROOT / "src/stepladder").rglob("*") if path.suffix in (".py", ".html", ".md", ".typed")
    ]
    for path in sources:
        assert inside[path.relative_to(ROOT / "src").as_posix()] == path.read_bytes()


def test_its_project_is_the_one_of_a_checkout(made):
    there = {path.relative_to(made) for path in made.rglob("*") if path.is_file() and ".git" not in path.parts}
    assert there == {*installed.files(), Path("params.yaml"), Path("README.md")}


def test_what_is_up_to_date_is_so_and_a_change_of_the_installed_code_is_seen(made, site, call):
    assert "stepladder 0" in call("stepladder", "--version")
    assert "runs" in call("stepladder", "plan", "--no-trial", STAGE)
    assert "Running stage 'train-diffusion@10'" in call("dvc", "repro", STAGE)
    assert (made / "models/diffusion/T10/model.safetensors").exists()
    assert "up to date" in call("dvc", "repro", STAGE)
    planned = call("stepladder", "plan", "--no-trial", STAGE)
    assert "4 in all: 4 up to date" in planned or "3 in all: 3 up to date" in planned
    shuffle = site / "stepladder/data/shuffle.py"
    shuffle.write_text(shuffle.read_text() + "# changed\n")
    assert "src/stepladder/data/shuffle.py" in call("dvc", "status", STAGE)
    line = next(row for row in call("stepladder", "plan", "--no-trial", STAGE).splitlines() if row.startswith(STAGE))
    assert "runs" in line
    assert "changed deps" in line


def test_code_that_comes_to_be_imported_is_named_before_it_is_run(made, site, call):
    (site / "stepladder/data/fresh.py").write_text("FRESH = 1\n")
    shuffle = site / "stepladder/data/shuffle.py"
    shuffle.write_text(shuffle.read_text() + "from stepladder.data.fresh import FRESH\n")
    said = call("stepladder", "plan", "--no-trial", code=2)
    assert "does not name all that this stepladder runs and reads in" in said
    assert "train-diffusion" in call("stepladder", "link")
    assert "src/stepladder/data/fresh.py" in (made / "dvc.yaml").read_text()
    call("stepladder", "plan", "--no-trial")


def test_after_an_upgrade_nothing_is_up_to_date_before_the_project_is_linked(made, site, call):
    call("dvc", "repro", "source@images")
    (info,) = site.glob("stepladder-*.dist-info")
    metadata = info / "METADATA"
    metadata.write_text(metadata.read_text().replace("\nVersion: ", "\nVersion: 99."))
    info.rename(site / "stepladder-99.0.0.dist-info")
    assert "deleted" in call("dvc", "status", "source@images")
    assert "`stepladder link` mends it" in call("stepladder", "plan", "--no-trial", code=2)
    assert "`stepladder link` mends it" in call("stepladder", "doctor", code=1)
    call("stepladder", "link")
    assert "up to date" in call("dvc", "status", "source@images")


def test_the_flows_of_its_project_are_the_installed_ones(made, site, call):
    said = call(sys.executable, "-c", "import pipelines.deployments as d; print(d.__file__, [f.name for f in d.FLOWS])")
    assert "'pipeline'" in said
    assert (made / "pipelines").resolve() == site.resolve() / "stepladder/template/pipelines"

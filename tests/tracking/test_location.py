"""A project that was copied or moved: real ``cp -r`` and ``mv``, real MLflow, the original under watch."""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path

import pytest

from stepladder.errors import UserError
from stepladder.tracking import health, location, promotion, runs, store
from stepladder.tracking.fetch import fetch
from tests.deploy import servers
from tests.tracking import made
from tests.tracking.test_registry import register

ROOT = Path(__file__).parents[2]
PROBED = {"megabytes": 1.0, "seconds_to_load": 0.5, "seconds": 0.1, "rows": 2}
LOAD = """
import mlflow
model = mlflow.pyfunc.load_model("models:/diffusion-digits@champion")
print(model.predict([{"label": "two"}]).shape)
"""


@pytest.fixture(scope="module")
def original(tmp_path_factory, migrated) -> Path:
    """A project with two registered models and the files of their runs."""
    folder = tmp_path_factory.mktemp("where it was made") / "a project"
    (folder / "mlruns").mkdir(parents=True)
    (folder / "dvc.yaml").touch()
    shutil.copy(migrated, folder / "mlruns" / "mlflow.db")
    made.diffusion(folder / "models" / "diffusion" / "T20")
    made.translation(folder / "models" / "transformer")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "STEPLADDER_TRACKING", "DVC_ROOT"):
            patch.delenv(name, raising=False)
        patch.chdir(folder)
        patch.setattr(promotion, "probe", lambda uri: PROBED)
        register(folder)
    return folder


@pytest.fixture
def watched(original, fresh):
    """The original, which nothing done to its copies may change."""
    before = tree(original)
    yield original
    assert tree(original) == before


def tree(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def by_cp(original: Path, target: Path) -> Path:
    subprocess.run(["cp", "-r", str(original), str(target)], check=True)
    return target


def by_mv(original: Path, target: Path) -> Path:
    between = by_cp(original, target.with_name("a copy"))
    settle(between)
    subprocess.run(["mv", str(between), str(target)], check=True)
    return target


def by_git(original: Path, target: Path) -> Path:
    """A clone, which has what is committed only, and the store copied into it."""
    target.mkdir()
    subprocess.run(["git", "init", "--quiet", str(target)], check=True)
    (target / "dvc.yaml").touch()
    subprocess.run(["cp", "-r", str(original / "mlruns"), str(target)], check=True)
    return target


def enter(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """As a new process there: MLflow keeps the store in this one's environment, and where runs have their artifacts."""
    from mlflow.tracking._tracking_service import utils

    utils._artifact_repos_cache.clear()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(folder)


def settle(folder: Path) -> None:
    location.relocate(folder / "mlruns" / "mlflow.db")


def dump(folder: Path) -> str:
    with sqlite3.connect(folder / "mlruns" / "mlflow.db") as connection:
        return "\n".join(connection.iterdump())


def aged(folder: Path) -> Path:
    """Its store as a version left it that did not say where it lay."""
    with sqlite3.connect(folder / "mlruns" / "mlflow.db") as connection:
        connection.execute(f"DROP TABLE {location.TABLE}")
    return folder


@pytest.mark.parametrize("brought", [by_cp, by_mv, by_git])
def test_a_copy_or_a_moved_project_reads_and_writes_its_own_artifacts(watched, tmp_path, monkeypatch, brought):
    there = brought(watched, tmp_path / "100% später? #1")
    enter(monkeypatch, there)
    health.check()
    folder, _ = fetch("models:/diffusion-digits@champion")
    assert there in folder.parents
    assert (folder / "model.safetensors").exists()
    client = store.client()
    for header in (made.header(), made.header(key="another"), made.header(key="new", experiment="diffusion-new")):
        run = runs.open_run(header)
        client.log_text(run["run_id"], "words", "note.txt")
        assert Path(client.download_artifacts(run["run_id"], "note.txt")).read_text() == "words"
    assert len(list((there / "mlruns" / "artifacts").rglob("note.txt"))) == 3
    assert (there / "mlruns").as_uri() in dump(there)
    assert watched.as_uri() not in dump(there), "no table names the original"


def test_two_copies_and_their_original_share_no_folder(watched, tmp_path, monkeypatch):
    places = set()
    for number in (1, 2):
        enter(monkeypatch, by_cp(watched, tmp_path / f"copy-{number}"))
        places |= {found.artifact_location for found in store.client().search_experiments()}
    with sqlite3.connect(watched / "mlruns" / "mlflow.db") as connection:
        own = {str(row[0]) for row in connection.execute("SELECT artifact_location FROM experiments")}
    assert len(places) == 2 * len(own)
    assert not own & places


def test_what_lies_elsewhere_on_purpose_stays_there(watched, tmp_path, monkeypatch):
    copied = by_cp(watched, tmp_path / "copy")
    wanted = {"far": "s3://bucket/artifacts/far", "near": "file:///srv/shared/near", "other": f"{watched.as_uri()}-2/x"}
    enter(monkeypatch, copied)
    for name, place in wanted.items():
        store.client().create_experiment(name, artifact_location=place)
    moved = tmp_path / "moved"
    subprocess.run(["mv", str(copied), str(moved)], check=True)
    enter(monkeypatch, moved)
    found = {name: store.client().get_experiment_by_name(name).artifact_location for name in wanted}
    assert found == wanted


def test_an_older_versions_copy_is_refused_and_brought_home_by_the_command_that_is_named(
    watched, tmp_path, monkeypatch
):
    copied = aged(by_cp(watched, tmp_path / "copy"))
    enter(monkeypatch, copied)
    before = dump(copied)
    for ask in (health.check, store.client, lambda: fetch("models:/diffusion-digits@champion")):
        with pytest.raises(UserError, match=r"names artifacts in .*where it was made.*`stepladder doctor --store`"):
            ask()
    assert dump(copied) == before, "what is refused is not changed"
    doctor = subprocess.run([sys.executable, "-m", "stepladder", "doctor"], capture_output=True, text=True)
    assert "`stepladder doctor --store`" in next(line for line in doctor.stdout.splitlines() if "tracking" in line)
    assert doctor.returncode == 1
    for _ in range(2):  # safe to run twice
        mended = subprocess.run(
            [sys.executable, "-m", "stepladder", "doctor", "--store"], capture_output=True, text=True
        )
        assert (mended.returncode, mended.stderr) == (0, "")
    assert watched.as_uri() not in dump(copied)
    assert copied in fetch("models:/diffusion-digits@champion")[0].parents


def test_an_older_version_that_was_never_moved_needs_nothing(original, tmp_path, monkeypatch):
    copied = by_cp(original, tmp_path / "copy")
    settle(copied)
    enter(monkeypatch, aged(copied))
    health.check()
    assert copied in fetch("models:/diffusion-digits@champion")[0].parents
    assert location.TABLE in dump(copied)


@pytest.fixture
def entangled(original, tmp_path):
    """An original, and its copy by an older version, whose last run has its files in the original's folder."""
    first = by_cp(original, tmp_path / "first")
    settle(first)
    copied = by_cp(aged(first), tmp_path / "copy")
    script = (
        "import mlflow\nclient = mlflow.MlflowClient()\n"
        "run = client.create_run(client.get_experiment_by_name('diffusion-digits').experiment_id)\n"
        "for name in 'abc': client.log_text(run.info.run_id, name, f'{name}.txt')\nprint(run.info.run_id)"
    )
    uri = f"sqlite:///{copied}/mlruns/mlflow.db"
    own = servers.environment(MLFLOW_TRACKING_URI=uri)
    done = subprocess.run([sys.executable, "-c", script], env=own, capture_output=True, text=True, check=True)
    return first, copied, done.stdout.split()[-1]


KILLED = """
import os, sys
from pathlib import Path
from stepladder.tracking import location
left, replace = int(sys.argv[2]), os.replace
def counted(*arguments):
    global left
    left -= 1
    if left < 0:
        os._exit(9)
    replace(*arguments)
os.replace = counted
before = location._rewrite
def rewritten(*arguments):
    before(*arguments)
    os._exit(9)
location._rewrite = rewritten
location.bring_home(Path(sys.argv[1]))
"""


def test_what_an_older_copy_wrote_into_the_original_is_brought_along_even_where_that_is_killed(entangled, tmp_path):
    first, copied, run_id = entangled
    before, file = tree(first), copied / "mlruns" / "mlflow.db"
    assert len([name for name in before if run_id in name]) == 3, "it lies in the original's folder"
    for allowed in range(4):  # killed before each file is in place, and before the transaction ends
        assert subprocess.run([sys.executable, "-c", KILLED, str(file), str(allowed)]).returncode == 9
    assert "files that were only there were copied" in location.bring_home(file)
    found = {Path(name).name for name in tree(copied) if run_id in name}
    assert found == {"a.txt", "b.txt", "c.txt"}
    assert tree(first) == before
    assert first.as_uri() not in dump(copied)
    assert dump(copied) == (location.bring_home(file), dump(copied))[1], "again it changes nothing"


def test_files_that_were_not_copied_along_are_said_to_be_missing(watched, tmp_path, monkeypatch):
    copied = by_cp(watched, tmp_path / "copy")
    shutil.rmtree(copied / "mlruns" / "artifacts")
    enter(monkeypatch, copied)
    with pytest.raises(
        UserError, match=r"is version 1 of diffusion-digits, but its files cannot be read at .*copy/mlruns"
    ):
        fetch("models:/diffusion-digits@champion")
    assert "there is no folder" in store.bring_home()


@pytest.fixture
def plugin(tmp_path) -> dict[str, str]:
    """The environment of a process in which Stepladder is installed as ``pyproject.toml`` says."""
    described = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    installed = tmp_path / "installed" / "plugin_of_the_tests-0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin-of-the-tests\nVersion: 0\n")
    lines = (f"[{group}]\n{name} = {value}\n" for group, names in described.items() for name, value in names.items())
    (installed / "entry_points.txt").write_text("".join(lines))
    return {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(installed.parent)])}


def test_plain_mlflow_finds_a_moved_projects_model_from_any_folder(original, tmp_path, plugin):
    copied = by_cp(original, tmp_path / "copy")
    settle(copied)
    subprocess.run(["mv", str(copied), str(tmp_path / "moved")], check=True)
    own = servers.environment(MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/moved/mlruns/mlflow.db", **plugin)
    done = subprocess.run([sys.executable, "-c", LOAD], cwd="/", env=own, capture_output=True, text=True)
    assert done.stdout.endswith("(1, 1, 8, 8)\n"), done.stderr
    assert copied.as_uri() not in dump(tmp_path / "moved")


@pytest.mark.slow
def test_mlflows_pages_show_a_moved_projects_artifacts(original, tmp_path, plugin):
    moved = by_cp(original, tmp_path / "moved")
    with sqlite3.connect(moved / "mlruns" / "mlflow.db") as connection:
        ((model,),) = connection.execute("SELECT model_id FROM logged_models WHERE name = 'diffusion'").fetchall()
    with servers.mlflow(tmp_path, f"sqlite:///{moved}/mlruns/mlflow.db", str(tmp_path / "none"), **plugin) as address:
        page = f"{address}/ajax-api/2.0/mlflow/logged-models/{model}/artifacts/directories"
        with urllib.request.urlopen(page, timeout=60) as answer:
            files = {file["path"] for file in json.load(answer)["files"]}
    assert {"MLmodel", "artifacts", "code"} <= files
    assert original.as_uri() not in dump(moved)

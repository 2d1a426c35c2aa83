import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stepladder.cli import EXTRAS, main
from stepladder.params import load, render
from tests.data.made import image_params, pair_file, picture_folder, text_params
from tests.test_architecture import imports

HEAVY = ["torch", "mlflow", "pydantic", "yaml", "numpy", "datasets", "prefect", "dvc"]


def _run(*command, cwd, **environment):
    """The real command, in a process and a project of its own."""
    found = {key: value for key, value in os.environ.items() if not key.startswith(("STEPLADDER_", "DVC_", "MLFLOW_"))}
    return subprocess.run(
        [sys.executable, "-m", "stepladder", *command],
        cwd=cwd, capture_output=True, text=True, check=False, timeout=120,
        env=found | {"OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip


def _is_one_sentence(done, expected):
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert expected in done.stderr
    assert done.stderr.startswith("stepladder: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


@pytest.fixture
def project(tmp_path):
    """A scratch project: presets, and parameters of its own."""
    (tmp_path / "presets").symlink_to(Path("presets").resolve())
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    return tmp_path


@pytest.mark.parametrize("missing", ["uvicorn", "fastapi"])
def test_what_is_not_installed_is_one_sentence(tmp_path, missing):
    """Where the package is there without its extra."""
    program = f"import sys; sys.modules[{missing!r}] = None; from stepladder.cli import main; sys.exit(main(['serve']))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    _is_one_sentence(
        done, f"serve needs {missing}, which is not installed; `pip install 'stepladder[pipeline]'` brings it"
    )


def test_whatever_is_imported_from_elsewhere_is_known_to_be_brought_by_something():
    ours = {"stepladder", "stepladder_mlflow", "pipelines"}
    for file in (*Path("src").rglob("*.py"), *Path("pipelines").rglob("*.py")):
        for name in {name.partition(".")[0] for name in imports(file)} - ours - sys.stdlib_module_names:
            assert name in EXTRAS, f"{file} imports {name}"


def test_flows_without_what_they_need_say_what_to_install():
    program = (
        "import importlib.util as u, runpy, sys; there = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'prefect' else there(name, *rest)\n"
        "sys.path.insert(0, ''); runpy.run_module('pipelines.serve')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert done.stderr == "The flows need prefect; `pip install 'stepladder[pipeline]'` brings what they need.\n"


def test_it_says_its_version():
    done = subprocess.run([sys.executable, "-m", "stepladder", "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"stepladder \d+\.\d+\.\d+\n", done.stdout)


def test_help_imports_nothing_heavy():
    program = (
        "import sys, stepladder.cli\n"
        "try:\n    stepladder.cli.main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "prepare" in done.stdout


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ("imags: {source: digits}", "imags is not a parameter; did you mean images?"),
        ("images: {sorce: digits}", "images.sorce is not a parameter; did you mean images.source?"),
        ("images: {size: big}", "images.size: input should be a valid integer"),
        ("sweep: {timesteps: [0, 10]}", "sweep.timesteps.0: input should be greater than or equal to 1 (given: 0)"),
        ("sweep: {timesteps: [10], sampling_steps: [5, 20]}", "S=20, more than the largest T=10"),
        ("seed: [", "params.yaml is not YAML"),
        ("text: {source: names, target_languages: [xx]}", "no names in 'xx'; there are:"),
        ("text: {source: absent.tsv}", "absent.tsv"),
    ],
)
def test_bad_parameters_are_one_sentence(project, params, sentence):
    (project / "params.yaml").write_text(params)
    kind = "text" if params.startswith("text") else "images"
    _is_one_sentence(_run("prepare", kind, cwd=project), sentence)
    assert not (project / "data").exists()


@pytest.mark.parametrize("timesteps", ["0", "-5"])
def test_no_timesteps_are_one_sentence(project, timesteps):
    _is_one_sentence(_run("train", "diffusion", "--timesteps", timesteps, cwd=project), f"--timesteps {timesteps}")
    _is_one_sentence(_run("train", "diffusion", cwd=project), "--timesteps")


def test_timesteps_that_are_no_number_are_refused_with_the_usage(project):
    done = _run("train", "diffusion", "--timesteps", "ten", cwd=project)
    assert done.returncode == 2
    assert "invalid int value: 'ten'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("override", ["sweep.timesteps=[0]", "images.sorce=digits", "images.size=big", "nothing"])
def test_bad_overrides_are_one_sentence(project, override):
    _is_one_sentence(_run("params", "-S", override, cwd=project), override.partition("=")[0])


def test_an_unknown_preset_is_one_sentence_with_those_there_are(project):
    _is_one_sentence(
        _run("params", "--preset", "absent", cwd=project), "There is no preset 'absent'; there are: cifar10"
    )


@pytest.mark.parametrize(
    "verb", ["prepare images", "plan", "cost", "compare", "report", "params", "link", "sweep run a", "study run a"]
)
def test_no_project_is_one_sentence(tmp_path, verb):
    _is_one_sentence(_run(*verb.split(), cwd=tmp_path), "`stepladder new FOLDER`")


def test_parameters_can_be_written_where_nothing_is(tmp_path):
    done = _run("params", "--preset", "quick", "--write", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "`stepladder new FOLDER` makes a project to run it in" in done.stdout
    assert load(tmp_path / "params.yaml") == load(preset="quick")
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]
    _is_one_sentence(_run("plan", "--no-trial", cwd=tmp_path), "There is no dvc.yaml here")


def test_an_unknown_data_set_is_one_sentence(project):
    (project / "mirror" / "numbers").mkdir(parents=True)
    for kind in ("images", "text"):
        (project / "params.yaml").write_text(f"{kind}: {{source: someone/absent}}")
        done = _run("prepare", kind, cwd=project, STEPLADDER_MIRROR="mirror")
        _is_one_sentence(done, "someone/absent is not in STEPLADDER_MIRROR=mirror, which has: numbers")
    done = _run("prepare", "text", cwd=project, STEPLADDER_MIRROR="nowhere")
    _is_one_sentence(done, "STEPLADDER_MIRROR=nowhere is not a folder")
    done = _run("prepare", "text", cwd=project, HF_HUB_OFFLINE="1", HF_HOME=str(project / "cache"))
    _is_one_sentence(done, "someone/absent cannot be read from the hub")


def test_training_without_prepared_data_is_one_sentence(project):
    _is_one_sentence(_run("train", "feature-net", cwd=project), "stepladder prepare images")
    assert not (project / "models").exists()


@pytest.mark.parametrize("verb", [[], ["unknown"], ["prepare"], ["prepare", "sound"]])
def test_an_unknown_verb_shows_the_usage(verb, capsys):
    with pytest.raises(SystemExit) as left:
        main(verb)
    assert left.value.code == 2
    assert "usage: stepladder" in capsys.readouterr().err


def test_prepare_says_what_there_is_and_what_was_set_aside(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    params = image_params(picture_folder(tmp_path / "own", classes=()), on_bad_row="set-aside")
    (tmp_path / "own" / "000.png").write_bytes(b"")
    (tmp_path / "params.yaml").write_text(render(params))
    assert main(["prepare", "images"]) == 0
    assert capsys.readouterr().out == "own: 47 train, 12 test; set aside: 1\n"
    (tmp_path / "params.yaml").write_text(render(text_params(pair_file(tmp_path / "pairs.tsv"))))
    assert main(["prepare", "text"]) == 0
    assert capsys.readouterr().out == "pairs: 160 train, 20 validation, 20 test; set aside: 0\n"


def test_a_bad_row_is_one_sentence_and_what_was_made_before_stays(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(render(image_params(picture_folder(tmp_path / "own"))))
    assert main(["prepare", "images"]) == 0
    before = (tmp_path / "data" / "images" / "card.json").read_text()
    (tmp_path / "own" / "cat" / "001.png").write_bytes(b"")
    capsys.readouterr()
    assert main(["prepare", "images"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("stepladder: Row ")
    assert printed.err.count("\n") == 1
    assert (tmp_path / "data" / "images" / "card.json").read_text() == before


def test_parameters_are_written_and_checked(project, capsys, monkeypatch):
    monkeypatch.chdir(project)
    assert main(["params", "--preset", "quick", "-S", "seed=7", "--write"]) == 0
    capsys.readouterr()
    assert main(["params", "--check"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["params"]) == 0
    assert capsys.readouterr().out == (project / "params.yaml").read_text()
    assert "seed: 7" in (project / "params.yaml").read_text()

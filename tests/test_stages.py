"""One place for what a result depends on: every stage of every graph, and every training's key, in both directions."""

import re
import subprocess
import sys
from importlib import import_module
from operator import attrgetter
from pathlib import Path

import pytest
import yaml

from stepladder import dependencies, stages
from stepladder.commands.places import DATA, FEATURE_NET, MODELS, NOISY_CLASSIFIER, REPORTS
from stepladder.params import Params, build, flatten
from stepladder.stages import GRAPHS, STAGES, TRAINED
from stepladder.training.families import FAMILIES
from tests import parameters_read

ENTRIES = [
    (graph, name, entry)
    for graph in GRAPHS
    for name, entry in yaml.safe_load(Path(graph).read_text(encoding="utf-8"))["stages"].items()
]
EVERY_ENTRY = pytest.mark.parametrize(("graph", "name", "entry"), ENTRIES, ids=[f"{g}:{n}" for g, n, _ in ENTRIES])
ASIDE_OF_ASIDE = {"dependencies", "stages"}
EVERY_STAGE = pytest.mark.parametrize("words", STAGES)
LABELS = build({"text": {"task": "labels"}, "transformer": {"architecture": "encoder"}})


@EVERY_ENTRY
def test_a_stage_depends_on_the_code_it_runs_and_on_no_other(graph, name, entry):
    declared = [dep for dep in entry.get("do", entry)["deps"] if dep.startswith(stages.SOURCE)]
    assert declared == stages.code_of(entry), "write it with `make graph`"


@EVERY_ENTRY
def test_a_stage_depends_on_the_parameters_it_reads_and_on_no_other(graph, name, entry):
    stage = entry.get("do", entry)
    for key in list(entry["foreach"]) if "${key}" in stage["cmd"] else [""]:
        command = stage["cmd"].replace("${key}", key).replace("${item}", "0")
        declared = {param.replace("${key}", key) for param in stage["params"]}
        assert declared == set(stages.of_command(command).reads)


@pytest.mark.parametrize("stage", [*STAGES.values(), *stages.CELLS.values(), stages.STUDY_PAGE, *TRAINED.values()])
def test_the_functions_of_a_stage_exist(stage):
    """A name that nothing has would be followed to no parameter, and nobody would notice."""
    for function in stage.functions:
        module, _, name = function.removeprefix("stepladder.").partition(":")
        assert attrgetter(name)(import_module(f"stepladder.{module}")) is not None


@EVERY_ENTRY
def test_no_stage_depends_on_all_that_there_is(graph, name, entry):
    """Of a whole folder of results any new one, of whatever graph, would make the stage stale, or would be needed first."""
    whole = {Path(), Path("src"), Path("data"), Path("data/sources"), MODELS, REPORTS}
    assert not whole & set(map(Path, entry.get("do", entry)["deps"]))


MADE = {entry.get("do", entry)["cmd"]: entry.get("do", entry) for _, _, entry in ENTRIES}
TRAININGS = [command for command in MADE if command.split()[1] in ("train", "adapt")]
CODE = {key: f"data/sources/{key}.code" for key in ("diffusion", "sampling")}  # of one's own
NETWORKS_ALONE = (["train", "feature-net"], ["train", "vae"], ["train", "gan"])  # nothing of theirs can be one's own
JUDGED = [command for command in MADE if command.split()[1] == "evaluate"]


def outcome(command: str) -> str:
    (out,) = MADE[command]["outs"]
    return out


def learns_from(command: str) -> tuple[str, list[str]]:
    """Kind of the data that a training of the graphs learns from, and where the model is that it starts from, if it does."""
    asked = command.replace("${item}", "10" if "--timesteps" in command else "full")
    begun = stages.training_of(asked, LABELS if "classifier" in command else Params())
    assert begun is not None
    family = FAMILIES[begun[0]]
    return family.data, ["${adaptation.model}"] if begun[0] == "adapted" else list(
        filter(None, [family.base(begun[1])])
    )


@pytest.mark.parametrize("command", TRAININGS)
def test_a_training_depends_on_its_data_and_on_what_it_starts_from(command):
    kind, base = learns_from(command)
    results = [dep for dep in MADE[command]["deps"] if not dep.startswith(stages.SOURCE)]
    own = [CODE["diffusion"]] if kind != "text" and command.split()[1:3] not in NETWORKS_ALONE else []
    assert results == [str(DATA[kind]), *base, *own]


@pytest.mark.parametrize("command", JUDGED)
def test_an_evaluation_depends_on_its_model_on_its_data_and_on_its_judge(command):
    _, _, family, *options = command.split()
    if family == "adapted":
        wanted = {"data/images", "data/own", str(FEATURE_NET), *CODE.values()}
        trained = f"stepladder adapt {' '.join(options)}"
        wanted.add("${adaptation.model}" if options == ["--before"] else outcome(trained))
    else:
        start = next(
            c for c in TRAININGS if c.split()[2] == family and c.split()[3:] in (options, [*options[:1], "scratch"])
        )
        kind, _ = learns_from(start)
        folder = outcome(start).replace("scratch", options[-1]) if family == "classifier" else outcome(start)
        wanted = {str(DATA[kind]), folder}
        wanted |= {str(FEATURE_NET), str(NOISY_CLASSIFIER), *CODE.values()} if family == "diffusion" else set()
    assert {dep for dep in MADE[command]["deps"] if not dep.startswith(stages.SOURCE)} == wanted


def test_each_model_of_the_graphs_is_judged_by_a_stage():
    """But for those that judge, guide or are started from."""
    needed = {dep for command in JUDGED for dep in MADE[command]["deps"]}
    apart = {"models/classification/masked-lm", "models/classification/pretrained", "models/classification/scratch"}
    assert {outcome(command) for command in TRAININGS} - needed <= apart
    assert "models/classification/${item}" in needed


@EVERY_STAGE
def test_a_stage_reads_what_is_declared(words):
    """Where a section goes on as a whole, single keys of it may be declared: then no code that runs names another."""
    stage = STAGES[words]
    found = parameters_read.reads(*stage.functions)
    for key in found:
        if key in stage.reads:
            continue
        own = [read for read in stage.reads if read.startswith(f"{key}.")]
        assert own, f"{words} reads {key}, which is not declared"
        keys = set(Params.model_fields[key].annotation.model_fields)
        left = keys - {read.partition(".")[2].partition(".")[0] for read in own}
        if words != "adapt":  # whose method is on its command line
            left -= set(dir(Path))  # the `name` of a file is no parameter
            assert not left & parameters_read.attributes(*stage.functions), f"{words} reads more of {key}"
    for read in stage.reads:
        assert any(read == key or read.startswith(f"{key}.") for key in found), f"{words} does not read {read}"


FORKED = """
import os, sys, importlib, torch, pytorch_lightning
for module in sys.argv[1:]:
    sys.stdout.flush()
    if os.fork() == 0:
        importlib.import_module("stepladder.training.worker"), importlib.import_module(module)
        print(module, *[name for name in sys.modules if name.startswith("stepladder")], flush=True)
        os._exit(0)
    os.wait()
"""


def test_what_a_training_loads_is_counted_or_aside():
    """The static reading against the import system itself."""
    modules = {family.module: name for name, family in FAMILIES.items()}
    said = "import sys, stepladder.params; print(*[name for name in sys.modules if name.startswith('stepladder')])"
    of_params = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True).stdout.split()
    lines = subprocess.run([sys.executable, "-c", FORKED, *modules], capture_output=True, text=True, check=True).stdout
    for module, *loaded in (line.split() for line in lines.splitlines()):
        stage = TRAINED[modules.pop(module)]
        aside = dependencies._aside(stage.functions)
        for name in loaded:
            inner = name.removeprefix("stepladder").lstrip(".")
            file = dependencies._file(inner) if inner else None
            if file is None or dependencies._is_in(inner, aside) or dependencies.is_bare(file):
                continue
            # what only a module that is aside imports is aside with it: of the parameters their values count
            counted = file.relative_to(dependencies.HOME).as_posix() in stage.code()
            assert counted or inner in ASIDE_OF_ASIDE or name in of_params, name
    assert not modules


def test_what_a_training_does_not_run_does_not_count():
    for family, stage in TRAINED.items():
        for page in (
            "diffusion/samplers/samplers.py",
            "diffusion/samplers/heun.py",
            "diffusion/sampling/drawing.py",
            "reporting/report.py",
            "serving/app.py",
            "cli.py",
        ):
            assert (dependencies.HOME / page).is_file()
            assert page not in stage.code(), f"{family} would be trained again by a change of {page}"
        assert "data/shuffle.py" in stage.code() or "data/buckets.py" in stage.code()


def test_the_key_of_a_training_is_of_that_code_and_of_no_other(tmp_path, monkeypatch):
    """Every file of the package in turn, changed: the hash changes exactly where the file is counted."""
    import shutil

    copy = tmp_path / "stepladder"
    shutil.copytree(dependencies.HOME, copy, ignore=shutil.ignore_patterns("__pycache__"))
    counted = {family: stage.code() for family, stage in TRAINED.items()}
    monkeypatch.setattr(dependencies, "HOME", copy)
    before = {family: dependencies.code_hash(code) for family, code in counted.items()}
    for file in copy.rglob("*.py"):
        text = file.read_bytes()
        file.write_bytes(text + b"# changed\n")
        name = file.relative_to(copy).as_posix()
        for family, code in counted.items():
            assert (dependencies.code_hash(code) != before[family]) == (name in code)
        file.write_bytes(text)


@pytest.mark.parametrize("family", TRAINED)
def test_every_parameter_is_read_by_a_training_or_not(family):
    read = [key for key in flatten(Params()) if TRAINED[family].is_read(key)]
    assert "seed" in read
    assert len(read) < len(flatten(Params()))
    assert not [key for key in read if key.startswith(("evaluation.", "sampling.", "promotion.", "images.", "text."))]


def test_a_name_only_known_at_run_time_is_refused(tmp_path, monkeypatch):
    (tmp_path / "some.py").write_text("from importlib import import_module\nimport_module(input())\n")
    monkeypatch.setattr(dependencies, "HOME", tmp_path)
    with pytest.raises(ValueError, match="only known when it runs"):
        dependencies.code("some")


def test_imports_are_followed_wherever_they_stand(tmp_path, monkeypatch):
    files = {
        "a.py": "from stepladder import b\ndef f():\n    import stepladder.inner.d\n",
        "b.py": "from stepladder.inner import c\nTEMPLATE = 'page.html'\n",
        "page.html": "",
        "inner/__init__.py": "'''Only said what it is.'''\n",
        "inner/c.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from stepladder import e\n",
        "inner/d.py": "def preview():\n    from stepladder import f\n",
        "e.py": "", "f.py": "", "g.py": "",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(dependencies, "HOME", tmp_path)
    assert dependencies.code("a") == ("a.py", "b.py", "inner/c.py", "inner/d.py", "page.html")


def test_parameters_are_found_behind_what_is_called(tmp_path, monkeypatch):
    (tmp_path / "a.py").write_text(
        "from stepladder.b import inner\n"
        "def outer(params: Params):\n    return inner(params), params.sweep.timesteps, params.sampling\n"
        "def other(params):\n    return params.gan\n"
    )
    (tmp_path / "b.py").write_text(
        "def inner(given: Params):\n    return given.evaluation.samples, given.sampling.eta\n"
    )
    monkeypatch.setattr(dependencies, "HOME", tmp_path)
    assert parameters_read.reads("a:outer") == {"sweep.timesteps", "sampling", "evaluation.samples"}
    (tmp_path / "c.py").write_text("def whole(params):\n    return flatten(params)\n")
    assert parameters_read.reads("c:whole") == set(Params.model_fields)


def test_stages_are_found_by_their_commands():
    for _, _, entry in ENTRIES:
        command = entry.get("do", entry)["cmd"]
        assert re.match(r"stepladder [a-z-]+", command)
    with pytest.raises(KeyError):
        stages.of_command("stepladder dance")


def test_the_training_that_a_command_is():
    params = build({"text": {"task": "labels"}, "transformer": {"architecture": "encoder"}})
    assert stages.training_of("stepladder train diffusion --timesteps 7", params) == ("diffusion", params, 7)
    family, changed, timesteps = stages.training_of("stepladder train classifier --start pretrained", params)
    assert (family, changed.transformer.base, timesteps) == ("transformer", str(stages.MASKED_LM), None)
    family, changed, _ = stages.training_of("stepladder adapt --method full", params)
    assert (family, changed.adaptation.method) == ("adapted", "full")
    assert stages.training_of("stepladder compare", params) is None

"""Code of one's own by ``module:name``: used as what is built in, refused at once, seen by all that say what is up to date."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import stepladder as sl
from stepladder import lineage, plugins, project
from stepladder.cli import main
from stepladder.commands.places import FEATURE_NET, IMAGES, TEXT
from stepladder.data.card import read_card
from stepladder.data.preparing.images import prepare
from stepladder.diffusion.networks import backbones
from stepladder.diffusion.networks.description import DiffusionDescription, described
from stepladder.diffusion.processes.processes import PROCESSES
from stepladder.diffusion.processes.schedules import CURVES, curve, of_description
from stepladder.diffusion.samplers.samplers import SAMPLERS
from stepladder.diffusion.sampling.drawing import draw
from stepladder.diffusion.training import task
from stepladder.errors import UserError
from stepladder.launching import launch
from stepladder.params import Params, Sampling, build, render
from stepladder.planning import work
from stepladder.studies import spec as study_spec
from stepladder.studies import stages as study_stages
from stepladder.sweeps import spec as sweep_spec
from stepladder.sweeps.child import Child, Places
from stepladder.tracking import loadable
from stepladder.training.families import FAMILIES
from tests import describing, digits, own_code
from tests.own_code import NAMES

KEYS = pytest.mark.parametrize("key", NAMES)


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A project's folder with one of each."""
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    own_code.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_ROOT", project.ORIGIN):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STEPLADDER_TRACKING", "journal")
    return tmp_path


def params(key: str, value: str = "") -> Params:
    """Small, with ``key`` one's own; a process in continuous time has one T."""
    sections = own_code.given(key, value or f"mine:{NAMES[key]}")
    sections.setdefault("diffusion", {}).setdefault("training", {"steps": 3, "batch_size": 16, "warmup_steps": 1})
    return digits.params(sweep={"timesteps": [20], "sampling_steps": [1]}, **sections)


@KEYS
def test_files_and_the_shell_name_it(here, key, capsys):
    value = f"mine:{NAMES[key]}"
    assert (render(params(key))).count(value) == 1
    (here / "params.yaml").write_text(render(params(key)))
    assert main(["params"]) == 0
    assert value in capsys.readouterr().out
    (here / "params.yaml").write_text(render(digits.params()))
    assert main(["params", "-S", f"{key}={value}", "-S", "sweep.timesteps=[200]"]) == 0
    assert value in capsys.readouterr().out


def test_each_parameter_that_may_name_code_is_among_those_that_count_as_code():
    known = {}
    for name, field in Params.model_fields.items():
        for key, inner in getattr(field.annotation, "model_fields", {}).items():
            known |= {f"{name}.{key}": kind.key for kind in inner.metadata if isinstance(kind, plugins.Kind)}
    assert known == {key: key for key in plugins.KEYS}


# What is refused, at once and in a sentence

OF_ANY = {
    "nowhere:thing": "there is no module nowhere in .*, nor installed; put nowhere.py there",
    "mien:thing": "there is no module mien in .*; the nearest there is mine",
    "mine.inner:thing": "there is no module mine.inner",
    "mine:{name}s": "mine.py has no {name}s; the nearest there is {name}",
    "mine:np": "; it must be a",
    "mine:number": "; it must be a",
    "mine:nothing": "it cannot be called so|it is no such class",
    "math:sin": "math has no source file whose changes could be seen",
    "broken:thing": "the module broken cannot be imported .SyntaxError",
    "failing:thing": "the module failing cannot be imported .ValueError: on purpose",
    "needing:thing": "the module needing cannot be imported .ModuleNotFoundError: No module named 'not_there'",
    "leaving:thing": "the module leaving cannot be imported .SystemExit",
}
MODULES = {
    "broken": "def thing(:\n",
    "failing": "raise ValueError('on purpose')\n",
    "needing": "import not_there\n",
    "leaving": "raise SystemExit(3)\n",
}
WRONG = """
number = 3
def nothing(): pass
def short(u): return u[:3]
def single(u): return (1 - 0.9 * u).astype(np.float32)
def rising(u): return 0.1 + 0.9 * u
def to_zero(u): return 1 - u
def raising(*values, **named): raise RuntimeError("on purpose")
def halves(denoise, x, levels, noise, *, callback=None): return x[:, :, :2]
def silent(denoise, x, levels, noise, *, callback=None): return denoise(x, 0).x_0
class Lacking(ContinuousTime): pass
class Backwards(Process):
    def levels(self, steps, spacing="trailing"): return super().levels(steps, spacing).rows(np.arange(steps)[::-1])
class Few(Process):
    def levels(self, steps, spacing="trailing"): return super().levels(1, spacing)
class Astray(Process):
    def to_x0(self, output, x, alpha, sigma): return x
class Blind(nn.Module):
    def forward(self, x): return x
class Narrow(Network):
    def forward(self, x, time, condition): return super().forward(x, time, condition)[:, :, :4]
class Stopped(Network):
    def forward(self, x, time, condition): raise RuntimeError("on purpose")
def numbers(images): return [1, 2]
def uneven(images): return PictureSource("n", "o", "l", [], {"train": Pictures(2, None, [0])})
def arrays(images): return PictureSource("n", "o", "l", [], {"train": Pictures(1, lambda i: np.zeros(3), [0])})
def slashed(images): return PictureSource("a/b", "o", "l", [], {})
"""
OF_ONE = [
    ("diffusion.schedule", "short", r"it gives float64 \(3,\) for u of float64 \(101,\)"),
    ("diffusion.schedule", "single", "it gives float32"),
    ("diffusion.schedule", "rising", "does not fall"),
    ("diffusion.schedule", "to_zero", "does not fall from at most 1 to above 0"),
    ("diffusion.schedule", "raising", "a trial of it ended with RuntimeError: on purpose"),
    ("sampling.sampler", "schedule", "it cannot be called so"),
    ("sampling.sampler", "halves", r"it gives \(2, 1, 2, 4\) for x of \(2, 1, 4, 4\)"),
    ("sampling.sampler", "silent", r"calls callback\(i, x, x_0\) for i in \[\]"),
    ("sampling.sampler", "raising", "a trial of it ended with RuntimeError: on purpose"),
    ("diffusion.process", "Network", "it is no such class"),
    ("diffusion.process", "Lacking", "it lacks error_of_x0, level_at, target, time_at, to_x0"),
    ("diffusion.process", "Backwards", "do not go from the noisiest to the cleanest"),
    ("diffusion.process", "Few", r"levels\(5\) gives no Levels of 5"),
    ("diffusion.process", "Astray", "does not give back the x_0"),
    ("diffusion.backbone", "Process", "it is no such class"),
    ("diffusion.backbone", "Blind", "it cannot be called so"),
    ("images.source", "sampler", "it cannot be called so"),
]
LATER = [
    ("diffusion.backbone", "Narrow", r"gives \(2, 1, 4, 8\) for two pictures, not \(2, 1, 8, 8\)"),
    ("diffusion.backbone", "Stopped", "RuntimeError: on purpose"),
    ("images.source", "numbers", "it gives list"),
    ("images.source", "uneven", "its split train has 2 pictures, 1 labels"),
    ("images.source", "arrays", "opens a ndarray, no PIL picture"),
    ("images.source", "slashed", "its name 'a/b' is none"),
    ("images.source", "raising", "it ended with RuntimeError: on purpose"),
]


def refused(key: str, name: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        params(key, name)
    assert "\n" not in str(error.value)
    assert f"{key}={name}" in str(error.value)
    assert re.fullmatch(r".*[^.?]\.", str(error.value))


@KEYS
@pytest.mark.parametrize("name", OF_ANY)
def test_what_is_not_there_or_is_no_such_thing_is_refused(here, key, name):
    own_code.write(here, text=WRONG)
    for module, text in MODULES.items():
        (here / f"{module}.py").write_text(text)
    refused(key, *(text.format(name=NAMES[key]) for text in (name, OF_ANY[name])))


@pytest.mark.parametrize(("key", "name", "said"), OF_ONE)
def test_what_has_another_signature_or_result_is_refused(here, key, name, said):
    own_code.write(here, text=WRONG)
    refused(key, f"mine:{name}", said)


@pytest.mark.parametrize(("key", "name", "said"), LATER)
def test_what_only_pictures_tell_is_refused_before_anything_is_trained(here, key, name, said):
    from stepladder.launching.check import check

    own_code.write(here, text=WRONG)
    found = params(key, f"mine:{name}")
    with pytest.raises(UserError, match=said):
        check("diffusion", found, digits.prepared()) if key == "diffusion.backbone" else prepare(found, here / "data")
    assert not (here / "data").exists() or not (here / "data/card.json").exists()


def test_a_network_that_is_to_read_texts_says_that_it_cannot(here):
    card = read_card(digits.prepared()) | {"text": {"vocabulary": 64, "length": 8}}
    found = build({"images": {"text_column": "t"}, "diffusion": {"backbone": "mine:Network", "text": True}})
    with pytest.raises(UserError, match=r"cannot be built, or run, .* text_encoder, text_length, vocabulary"):
        task.network(found, card)


def test_the_command_line_ends_with_2_and_a_sentence(here, capsys):
    (here / "params.yaml").write_text("diffusion: {schedule: 'mine:schedul'}\n")
    assert main(["params"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("stepladder: params.yaml: diffusion.schedule=mine:schedul: ")


def test_a_folder_of_that_very_name_is_that_folder(here):
    (here / "pets:small").mkdir()
    assert build({"images": {"source": "pets:small"}}).images.source == "pets:small"


def test_another_projects_module_of_the_same_name_is_another(here, monkeypatch):
    before = CURVES["mine:schedule"]
    other = here / "other"
    other.mkdir()
    (other / "dvc.yaml").write_text("stages: {}\n")
    own_code.write(other)
    (other / "helper.py").write_text("def falling(u):\n    return 1 - 0.5 * u\n")
    monkeypatch.chdir(other)
    assert CURVES["mine:schedule"](np.ones(1)) == 0.5
    monkeypatch.chdir(here)
    assert CURVES["mine:schedule"](np.ones(1)) == before(np.ones(1)) == pytest.approx(0.001)


# A copy of what is built in gives the same bits

COPIES = """
from stepladder.diffusion.networks.unet import UNet
from stepladder.diffusion.processes.processes import EDM as edm, Continuous as continuous, Discrete as discrete, Flow as flow
from stepladder.diffusion.processes.schedules import cosine, laplace, linear, scaled_linear, sigmoid
from stepladder.diffusion.samplers.samplers import SAMPLERS
ancestral, ddim, euler, dpmpp_2m, unipc, heun = (SAMPLERS[name] for name in ("ancestral", "ddim", "euler", "dpmpp_2m", "unipc", "heun"))
euler_alone = SAMPLERS["euler"].sample
class Copy(UNet):
    def __init__(self, shape, classes, outputs):
        super().__init__(shape, **SMALL, classes=classes, outputs=outputs)
"""
SMALL = {"channels": 8, "channel_mult": [1, 2], "blocks": 1, "attention_resolutions": [4], "heads": 2, "dropout": 0.0}
OWN = {"sampler": SAMPLERS, "process": PROCESSES}
anywhere = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def copied(here) -> Path:
    (here / "copies.py").write_text(COPIES.replace("**SMALL", f"**{SMALL!r}"))
    return here


@anywhere
@given(name=st.sampled_from(sorted(CURVES)), timesteps=st.integers(1, 2000), zero=st.booleans())
def test_a_copied_schedule_gives_the_same_bits(copied, name, timesteps, zero):
    ours, theirs = (
        describing.described({"schedule": s, "timesteps": timesteps, "zero_terminal_snr": zero})
        for s in (name, f"copies:{name}")
    )
    one, other = of_description(ours), of_description(theirs)
    assert one.betas.tobytes() == other.betas.tobytes()
    assert one.alphas_cumprod.tobytes() == other.alphas_cumprod.tobytes()
    u = np.arange(1, timesteps + 1) / timesteps
    assert curve(ours)(u).tobytes() == curve(theirs)(u).tobytes()


class Still(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(0.3))

    def forward(self, x, time, condition):
        return self.scale * x + time[:, None, None, None]


def drawn(process: str, steps: int, **sampling) -> torch.Tensor:
    network = {"backbone": "own", "shape": [1, 4, 4]}
    said = {
        "process": process,
        "prediction": "v",
        "timesteps": 50,
        "classes": (),
        "label_dropout": 0.1,
        "model": network,
    }
    description = DiffusionDescription.model_validate({"schedule": "cosine"} | said)
    return draw(Still(), description, {"labels": torch.zeros(3, dtype=torch.int64)}, steps, Sampling(**sampling))


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("sampler", [*SAMPLERS, "euler_alone"])
def test_a_copied_process_or_sampler_draws_the_same_bits(copied, process, sampler):
    built_in = sampler.removesuffix("_alone")
    options = {"churn": 5.0} if built_in == "heun" else {"eta": 0.5} if built_in == "ddim" else {}
    for steps in (1, 7):
        expected = drawn(process, steps, sampler=built_in, **options)
        assert torch.equal(expected, drawn(process, steps, sampler=f"copies:{sampler}", **options))
        assert torch.equal(expected, drawn(f"copies:{process}", steps, sampler=built_in, **options))


def test_a_copied_network_begins_with_the_same_bits(copied):
    common = {"shape": [1, 8, 8], "classes": 10, "outputs": 1}
    both = []
    for network in ({"backbone": "unet"} | SMALL, {"backbone": "copies:Copy"}):
        torch.manual_seed(0)
        both.append((backbones.build(described(common | network)), torch.rand(3)))
    (ours, after), (theirs, afterwards) = both
    assert torch.equal(after, afterwards)
    weights = theirs.state_dict()
    assert all(torch.equal(weight, weights.pop(name)) for name, weight in ours.state_dict().items())
    assert not weights


# What is up to date


def key(found: Params, family: str = "diffusion") -> str:
    return launch.identity(family, found, digits.prepared(), timesteps=20)


def test_the_source_with_all_that_it_imports_is_part_of_a_trainings_key(here):
    (here / "package").mkdir()
    (here / "package/__init__.py").write_text("")
    (here / "package/inner.py").write_text("from . import deeper\n")
    (here / "package/deeper.py").write_text("")
    (here / "aside.py").write_text("")
    own_code.write(here, text="\ndef lazily():\n    import package.inner\n    import numpy, stepladder\n")
    found = params("diffusion.schedule")
    before, plain = key(found), key(digits.params())
    counted = {"mine", "helper", "package", "package.inner", "package.deeper"}
    assert plugins.files(["mine:schedule"]).keys() == counted
    for name in ("mine.py", "helper.py", "package/__init__.py", "package/inner.py", "package/deeper.py", "aside.py"):
        text = (here / name).read_text()
        (here / name).write_text(text + "# changed\n")
        assert (key(found) != before) == (name != "aside.py"), name
        assert key(digits.params()) == plain
        (here / name).write_text(text)
    assert key(found) == before


@KEYS
@pytest.mark.parametrize("family", ["diffusion", "noisy-classifier", "vae"])
def test_a_training_counts_what_it_reads_and_nothing_else(here, key, family):
    """So a sampler's change leaves all models as they are."""
    found = params(key)
    before = launch.identity(family, found, digits.prepared(), timesteps=20)
    (here / "helper.py").write_text(own_code.HELPER + "# changed\n")
    changed = launch.identity(family, found, digits.prepared(), timesteps=20) != before
    assert changed == FAMILIES[family].stage.is_read(key)


def test_the_lineage_has_the_code_also_where_git_does_not_track_it(here):
    for words in (
        ["init", "-q"],
        ["add", "dvc.yaml"],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "t"],
    ):
        subprocess.run(["git", *words], check=True)
    lineage.capture(here / "origin", params("diffusion.schedule"))
    kept = (here / "origin" / lineage.DIFF).read_text()
    assert "+++ b/mine.py" in kept
    assert "+++ b/helper.py" in kept
    lineage.capture(here / "origin", digits.params())
    assert not (here / "origin" / lineage.DIFF).exists()


def test_nothing_is_added_to_a_key_where_nothing_is_named():
    assert plugins.code_hash(plugins.named({"diffusion.schedule": "cosine", "images.source": "digits"})) == []


def test_studies_and_sweeps_count_what_they_name(here):
    (here / "params.yaml").write_text(render(digits.params()))
    arms = {"own": {"timesteps": 10, "set": {"diffusion.schedule": "mine:schedule"}}, "built-in": {"timesteps": 10}}
    study = {
        "question": "Which?",
        "seeds": [0],
        "arms": arms,
        "samplings": [{"sampler": "drawing:sampler", "steps": [2]}],
    }
    own_code.write(here, "drawing")
    (here / "studies/made").mkdir(parents=True)
    (here / "studies/made/study.yaml").write_text(json.dumps(study))
    stages = yaml.safe_load(study_stages.rendered("made", study_spec.read("made")))["stages"]
    assert {"mine.py", "helper.py", "drawing.py"} <= set(stages["diffusion"]["deps"])
    (here / "sweeps").mkdir()
    sweep = {"space": {"sampling.sampler": ["mine:sampler", "ddim"]}, "timesteps": 4, "metric": "frechet"}
    (here / "sweeps/made.yaml").write_text(json.dumps(sweep))
    places = Places(digits.prepared(), TEXT, FEATURE_NET)

    def children() -> list[tuple[str, str]]:
        made = sweep_spec.read("made")
        found = [Child("made", made, point, 0, places) for point in made.points()]
        return [(child.key, child.fingerprint()) for child in found]

    before = children()
    (here / "helper.py").write_text(own_code.HELPER + "# changed\n")
    after = children()
    assert [key for key, _ in before] == [key for key, _ in after], "the trainings are as they were"
    assert [a == b for (_, a), (_, b) in zip(before, after, strict=True)] == [False, True]


# From end to end


@pytest.mark.slow
@pytest.mark.parametrize("key", ["diffusion.schedule", "diffusion.process", "diffusion.backbone"])
def test_it_is_trained_with_drawn_from_and_named_in_the_models_folder(here, key, capsys):
    model = sl.train("model", params(key), data=digits.prepared(), timesteps=20)
    assert plugins.of_model(model) == [f"mine:{NAMES[key]}"]
    assert sl.draw(sl.load(model), ["3", "7"], steps=4).shape == (2, 1, 8, 8)
    (here / "mine.py").rename(here / "moved.py")
    command = [sys.executable, "-m", "stepladder", "sample", "--model", "model", "--out", "x.png"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"model is of a model that needs code of its maker's own: {key}=mine:{NAMES[key]}" in done.stderr
    assert "put mine.py there" in done.stderr


def test_pictures_are_prepared_by_ones_own_source(here):
    card = prepare(params("images.source"), here / "data/images")
    assert (card["name"], card["classes"], sum(card["counts"].values())) == ("noise", ["a", "b", "c"], 120)
    first = card["source_fingerprint"]
    (here / "helper.py").write_text(own_code.HELPER + "# changed\n")
    assert prepare(params("images.source"), here / "data/images")["source_fingerprint"] != first


@pytest.mark.slow
def test_a_served_model_brings_the_code_along(here, tmp_path_factory):
    """A process that has neither the project nor its module loads what MLflow keeps, and answers."""
    from types import SimpleNamespace

    found = params("diffusion.backbone")
    folder = digits.save(task.experiment(found, digits.prepared(), timesteps=20), here / "model")
    own = [*plugins.of_model(folder), "mine:sampler"]
    settings = {"steps": 3, "guidance_scale": 1.0, "seed": 0, "sampling": Sampling(sampler="mine:sampler").model_dump()}
    logged = SimpleNamespace(artifact_location="here", model_id=None, source_run_id=None)
    path = here / "out" / "model"
    (here / "out").mkdir()
    rows = [{"label": "3"}]
    loadable._save(path, logged, "diffusion", {"": folder}, settings, rows, plugins.bundled(own))
    assert {file.name for file in (path / "code").iterdir()} == {"stepladder", "mine.py", "helper.py"}
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    said = f"import mlflow, pandas; m = mlflow.pyfunc.load_model({str(path)!r}); print(m.predict(pandas.DataFrame({rows})).shape)"
    said += "\ntry: m.predict(pandas.DataFrame([{'label': '3'}]), params={'sampler': 'helper:falling'})"
    said += "\nexcept Exception as error: print(error)"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", said], cwd=elsewhere, env=environment, capture_output=True, text=True)
    assert done.stdout.startswith("(1, 1, 8, 8)"), done.stderr[-3000:]
    assert "names code to be run, which forms and requests cannot" in done.stdout


PLACES = Places(IMAGES, TEXT, FEATURE_NET)


def stale(folder: Path) -> set[str]:
    from dvc.repo import Repo

    with Repo(str(folder)) as repo:
        return {name.rpartition(":")[2] for name in repo.status(targets=["evaluate-diffusion@10"], with_deps=True)}


@pytest.mark.slow
def test_dvc_and_plan_see_a_change_of_the_code_and_of_what_it_imports(tmp_path, monkeypatch):
    """The repository's own stages, in a project with one of each kind: what is made is as stale as it should be."""
    from tests.pipelines.project import dvc, make_real

    folder = make_real(tmp_path / "project", 3)
    own_code.write(folder)
    shutil.copy(folder / "mine.py", folder / "drawing.py")
    names = {key: f"mine:{name}" for key, name in NAMES.items()} | {"sampling.sampler": "drawing:sampler"}
    values = {"sweep": {"timesteps": [10], "sampling_steps": [1]}, "feature_net": {"steps": 3, "batch_size": 16}}
    values |= {"evaluation": {"samples": 24, "bootstrap": 10, "likelihood_images": 0}}
    values["diffusion"] = {"training": {"steps": 3, "batch_size": 16, "warmup_steps": 1}}
    for key, name in names.items():
        section, _, word = key.partition(".")
        values.setdefault(section, {})[word] = name
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("STEPLADDER_TRACKING", "journal")
    monkeypatch.setenv("PYTHONPATH", str(folder / "src"))
    (folder / "params.yaml").write_text(render(build(values)), encoding="utf-8")
    dvc(folder, "repro", "--quiet", "evaluate-diffusion@10")
    assert (
        json.loads((folder / "reports/diffusion/T10/metrics.json").read_text())["points"][0]["sampler"]
        == names["sampling.sampler"]
    )
    assert not stale(folder)
    with (folder / "drawing.py").open("a") as file:
        file.write("# changed\n")
    assert stale(folder) == {"own-code", "evaluate-diffusion@10"}
    planned = {piece.name: piece.state for piece in work.of_stages(["evaluate-diffusion@10"], PLACES)}
    assert (planned["train-diffusion@10"], planned["evaluate-diffusion@10"]) == ("up to date", "runs")
    with (folder / "helper.py").open("a") as file:
        file.write("# changed\n")
    assert {"prepare@images", "train-diffusion@10", "evaluate-diffusion@10"} <= stale(folder)
    before = json.loads((folder / "models/diffusion/T10/training.json").read_text())["key"]
    dvc(folder, "repro", "--quiet", "evaluate-diffusion@10")
    assert json.loads((folder / "models/diffusion/T10/training.json").read_text())["key"] != before
    assert not stale(folder)
    with (folder / "mine.py").open("a") as file:  # one more module, seen from its first day
        file.write("import later\n")
    (folder / "later.py").write_text("")
    dvc(folder, "repro", "--quiet", "own-code")
    assert (folder / "data/sources/diffusion.code/later.py").exists()

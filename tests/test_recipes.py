"""The recipes of CONTRIBUTING.md, each followed in a copy of the package: so many files are touched, and what is added is there.

Parameters admit it by name, pages and studies list it, and it works.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path("src/stepladder")
SCHEDULE = '''def straight(u: Array) -> Array:
    """The share of signal falls evenly."""
    return 1 - 0.999 * u


CURVES: dict'''
SAMPLER = '''def halfway(
    denoise: Denoise, x: Tensor, levels: Levels, noise: Noise | None = None, *, callback: Callback | None = None
) -> Tensor:
    """Euler's method."""
    return ddim(denoise, x, levels, _no_noise, callback=callback)


SAMPLERS = (
    Sampler("halfway", "Halfway", halfway, 1),'''
PROCESS = '''class Arc(ContinuousTime):
    """A quarter of a circle from data to noise; the network predicts the velocity along it."""

    name, title = "arc", "a quarter of a circle"
    has_own_target = has_own_levels = True
    usual_sampler = "euler"

    def level_at(self, u: Array) -> tuple[Array, Array]:
        return np.cos(u * np.pi / 2), np.sin(u * np.pi / 2)

    def time_at(self, log_sigma: Array) -> Array:
        return np.arctan(np.exp(log_sigma)) * 2 / np.pi

    def target(self, x_0: Tensor, eps: Tensor, alpha: Level, sigma: Level) -> Tensor:
        return alpha * eps - sigma * x_0

    def to_x0(self, output: Tensor, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        return alpha * x - sigma * output

    def error_of_x0(self, snr: Tensor) -> Tensor:
        return 1 / (1 + snr)


PROCESSES: dict'''

FLOW = '''"""The flow ``clean``."""

from prefect import flow

from pipelines import form


@flow(name="clean")
@form.described
def clean(preset: form.Preset = form.WORKSPACE, days: int = 30) -> None:
    """Remove what is old.

    Args:
        days: what was not used for so many
    """
'''


@dataclass(frozen=True)
class Recipe:
    """What is added to which files, as (a pattern, what takes its place)."""

    added: str
    edits: dict[str, list[tuple[str, str]]]
    then: str


CONFIG = '{"process": "discrete", "schedule": "cosine", "timesteps": 50, "prediction": "v", "classes": [], "label_dropout": 0.1, "model": {"backbone": "own", "shape": (1, 8, 8)}}'
DRAWN = f"""
import torch
from stepladder.diffusion.networks.description import DiffusionDescription
from stepladder.diffusion.sampling.drawing import draw
from stepladder.params import Sampling
class Still(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(0.1))
    def forward(self, x, time, condition):
        return self.scale * x
pictures = draw(Still(), DiffusionDescription.model_validate({CONFIG} | changed), {{"labels": torch.zeros(3, dtype=torch.int64)}}, 5, Sampling(**sampling))
assert pictures.shape == (3, 1, 8, 8) and pictures.isfinite().all()
"""
RECIPES = [
    Recipe(
        "straight",
        {
            "diffusion/processes/schedules.py": [
                (r"CURVES: dict", SCHEDULE),
                (r'    "laplace": laplace,\n', '    "laplace": laplace,\n    "straight": straight,\n'),
            ]
        },
        'changed, sampling = {"schedule": "straight"}, {}\n' + DRAWN + "build({'diffusion': {'schedule': 'straight'}})",
    ),
    Recipe(
        "halfway",
        {
            "diffusion/samplers/one_step.py": [(r"SAMPLERS = \(", SAMPLER)],
        },
        'changed, sampling = {}, {"sampler": "halfway"}\n' + DRAWN + """
build({"sampling": {"sampler": "halfway"}})
from stepladder.serving.app import Drawing
from stepladder.studies.results import named
Drawing(model="m", labels=["0"], steps=5, sampler="halfway")
assert named(Sampling(sampler="halfway").model_dump(mode="json")) == "Halfway"
""",
    ),
    Recipe(
        "arc",
        {
            "diffusion/processes/processes.py": [
                (r"PROCESSES: dict", PROCESS),
                (r"Continuous, EDM, Flow\)", "Continuous, EDM, Flow, Arc)"),
            ]
        },
        'changed, sampling = {"process": "arc"}, {"sampler": "euler"}\n' + DRAWN + """
build({"diffusion": {"process": "arc"}, "sweep": {"timesteps": [100]}})
from stepladder.errors import UserError
for refused in ({"variance": "learned_range", "loss": "hybrid"}, {"prediction": "eps"}):
    try:
        build({"diffusion": {"process": "arc"} | refused, "sweep": {"timesteps": [100]}})
    except UserError as error:
        assert "arc" in str(error)
    else:
        raise AssertionError(refused)
""",
    ),
]  # fmt: skip


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.added)
def test_a_recipe_adds_what_it_says(recipe: Recipe, tmp_path: Path) -> None:
    shutil.copytree(SOURCE, tmp_path / "stepladder", ignore=shutil.ignore_patterns("__pycache__"))
    for name, edits in recipe.edits.items():
        file = tmp_path / "stepladder" / name
        text = file.read_text(encoding="utf-8")
        for pattern, replacement in edits:
            text, count = re.subn(pattern, lambda _, new=replacement: new, text)
            assert count == 1, (name, pattern)
        file.write_text(text, encoding="utf-8")
    script = "from stepladder.params import build\n" + recipe.then
    done = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_flow_is_a_file_and_a_line_of_what_is_deployed(tmp_path: Path) -> None:
    shutil.copytree("pipelines", tmp_path / "pipelines", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "pipelines/clean.py").write_text(FLOW, encoding="utf-8")
    listed = Path("prefect.yaml").read_text(encoding="utf-8")
    line = '  - {<<: *anywhere, entrypoint: "pipelines/clean.py:clean"}\n'
    (tmp_path / "prefect.yaml").write_text(listed + line, encoding="utf-8")
    script = """
from pipelines.deployments import FLOWS
from pipelines import deployed
assert "clean" in deployed()
fields = FLOWS[-1].parameters.properties
assert fields["days"]["description"] == "what was not used for so many", fields
assert "a named set" in fields["preset"]["description"], fields
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{SOURCE.parent.resolve()}", "PREFECT_HOME": str(tmp_path / "home")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_page_says_how_many_files_a_recipe_touches() -> None:
    said = dict(
        re.findall(r"^\| a (schedule|sampler|process|flow) \| (\d) \|", Path("CONTRIBUTING.md").read_text(), re.M)
    )
    kinds = {"straight": "schedule", "halfway": "sampler", "arc": "process"}
    assert said == {"flow": "1"} | {kinds[recipe.added]: str(len(recipe.edits)) for recipe in RECIPES}

"""What a sweep is: the schema of ``sweeps/NAME.yaml``."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, model_validator

from stepladder.errors import UserError
from stepladder.metrics.every import METRICS, measured
from stepladder.params import Params, Section, build, load, merge, section
from stepladder.studies.spec import Arm, Study, nested
from stepladder.sweeps import space
from stepladder.sweeps.space import SAMPLING_STEPS, TIMESTEPS, Dimension, Point
from stepladder.text_tasks.tasks import FORMS
from stepladder.training.families import FAMILIES
from stepladder.values import Value, Values

FOLDER = Path("sweeps")
JUDGED = ("diffusion", "vae", "gan")


class Pruning(Section):
    """Which of Optuna's trials end early."""

    by: Literal["median", "successive_halving", "none"] = Field("median", description="Optuna's pruner")
    metric: str = Field("validation/loss", min_length=1, description="figure of the journal; smaller is better")
    startup_trials: int = Field(5, ge=0, description="median: trials that are never pruned")
    warmup: int = Field(1, ge=0, description="validations before any pruning")
    factor: int = Field(2, ge=2, le=16, description="successive halving: one in so many goes on")


class Sweep(Section):
    """A sweep."""

    about: str = Field("", description="what it is for")
    family: Literal["diffusion", "transformer", "vae", "gan", "feature-net"] = Field(
        "diffusion", description="of models"
    )
    method: Literal["grid", "random", "optuna"] = Field("grid", description="how points are chosen")
    space: Values = Field(description="by key of the spec, timesteps and sampling_steps: a list, or a range")
    seeds: tuple[int, ...] = Field((0,), min_length=1, description="one training of each point for each")
    trials: int = Field(20, ge=1, le=100_000, description="points of random and optuna")
    seed: int = Field(0, ge=0, description="of the choice of points")
    metric: str = Field("validation/loss", description="decides: a figure of the training, or a measure of studies")
    direction: Literal["", "minimize", "maximize"] = Field("", description="empty: as the measure is meant")
    preset: str = Field("", description="what points start from; empty: the workspace's params.yaml")
    base: Values = Field({}, description="parameters of all points")
    timesteps: int = Field(0, ge=0, le=100_000, description="T where it is not swept")
    sampling_steps: tuple[int, ...] = Field((10,), min_length=1, description="S where it is not swept; the best counts")
    prune: Pruning = Pruning()

    @model_validator(mode="after")
    def _combinations(self) -> Sweep:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds={list(self.seeds)} names one twice; name each once")
        if self.family == "diffusion" and TIMESTEPS not in self.space and not self.timesteps:
            raise ValueError("a diffusion model has T = 1 or more timesteps; sweep timesteps, or name one")
        kinds = {"transformer": [*FORMS]}.get(self.family, ["images"] if self.family in JUDGED else [])
        measures = [name for name in measured(kinds) if METRICS[name].judged]
        if "/" not in self.metric and self.metric not in measures:
            raise ValueError(
                f"metric={self.metric}: family {self.family} has none of that name; there are: "
                f"{', '.join([*measures, 'validation/loss'])} and the other figures of the training's journal"
            )
        return self

    @property
    def is_judged(self) -> bool:
        """Whether the metric needs an evaluation of pictures or text, not the training alone."""
        return "/" not in self.metric

    @property
    def sign(self) -> int:
        """1 where a larger metric is better, -1 where a smaller one is."""
        if self.direction:
            return 1 if self.direction == "maximize" else -1
        metric = METRICS.get(self.metric.rpartition("/")[2])
        return metric.better if metric else -1

    @cached_property
    def dimensions(self) -> list[Dimension]:
        """The dimensions of the space."""
        extra = ("sampling", "evaluation") if self.family == "diffusion" else ()
        return space.read(self.space, (*FAMILIES[self.family].stage.sections, *extra), self.method, "the sweep")

    def points(self) -> list[Point]:
        """The points that are known beforehand: all of a grid or a random choice, none of Optuna's."""
        if self.method == "grid":
            return space.grid(self.dimensions)
        return space.random(self.dimensions, self.trials, self.seed) if self.method == "random" else []

    def params(self, point: Point, seed: int) -> Params:
        """The full parameters of ``point``. Raises ``UserError`` where they are refused."""
        values = merge(load(preset=self.preset).model_dump(mode="json"), nested(self.base))
        changed = {key: value for key, value in point.items() if key not in (TIMESTEPS, SAMPLING_STEPS)}
        values = merge(merge(values, nested(changed)), {"seed": seed})
        if timesteps := self.timesteps_of(point):
            values = merge(values, {"sweep": {"timesteps": [timesteps], "sampling_steps": [*self.steps_of(point)]}})
        return build(values, f"the sweep at {space.label(point)}")

    def timesteps_of(self, point: Point) -> int | None:
        """T of ``point``; ``None`` for other families than diffusion."""
        return _as_int(point.get(TIMESTEPS, self.timesteps)) if self.family == "diffusion" else None

    def steps_of(self, point: Point) -> list[int]:
        """The numbers of sampling steps S of ``point``, each at most T."""
        wanted_steps = [point[SAMPLING_STEPS]] if SAMPLING_STEPS in point else list(self.sampling_steps)
        largest = self.timesteps_of(point) or 1
        return sorted({min(_as_int(steps), largest) for steps in wanted_steps})

    def as_study(self, points: dict[str, Point]) -> Study:
        """The study with ``points`` as its arms: the same code judges cells and averages over seeds for both."""
        arms: dict[str, Arm] = {}
        family: Any = self.family
        for name, point in points.items():
            timesteps = self.timesteps_of(point)
            sampling = self.params(point, self.seeds[0]).sampling.model_dump(mode="json") if timesteps else {}
            ways = ({**sampling, "steps": self.steps_of(point)},) if timesteps else ()
            arms[name] = Arm.model_construct(family=family, timesteps=timesteps or 0, samplings=ways)
        return Study.model_construct(
            question=self.about or "?",
            seeds=self.seeds,
            measures=(self.metric,),
            preset=self.preset,
            arms=arms,
            samplings=(),
        )

    def check(self) -> Sweep:
        """Returns the sweep; raises ``UserError`` where a known point cannot be trained."""
        for point in self.points():
            self.params(point, self.seeds[0])
        assert self.dimensions
        return self


def _as_int(value: Value) -> int:
    assert isinstance(value, int | float)
    return int(value)


def folder(name: str) -> Path:
    """The folder of the results of the sweep ``name``."""
    return FOLDER / name


def names() -> list[str]:
    """The names of all sweeps, sorted."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def read(name: str) -> Sweep:
    """The sweep ``name``, checked; raises ``UserError`` with the key, the value and what is allowed."""
    file = FOLDER / f"{name}.yaml"
    if not file.exists():
        raise UserError(
            f"There is no sweep {name!r}; there are: {', '.join(names()) or 'none here (`stepladder new FOLDER` makes a project with some)'}."
        )
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"{file} is not YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(values, dict):
        raise UserError(f"{file} holds no keys and values; it needs at least a space.")
    try:
        return section(Sweep, values, str(file)).check()
    except UserError as error:
        raise UserError(str(error).replace("the sweep", str(file), 1)) from None

"""What a study is: a question, arms, seeds, what is measured and what is claimed; the schema of ``studies/NAME/study.yaml``."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, model_validator

from stepladder.errors import UserError
from stepladder.metrics.every import METRICS
from stepladder.params import Params, Sampling, Section, build, load, merge, section
from stepladder.studies import possible
from stepladder.values import Value, Values

FOLDER = Path("studies")
FAILED = "failed.json"  # in the folder of a cell whose training failed: why
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


class Arm(Section):
    """One thing that is compared: a family of models, what it changes, how it is sampled."""

    about: str = Field("", description="one sentence for the page")
    family: Literal["diffusion", "vae", "gan", "transformer"] = Field("diffusion", description="family of models")
    timesteps: int = Field(0, ge=0, le=100_000, description="T of a diffusion model; the largest S of continuous time")
    set: Values = Field({}, description="parameters, as in params.yaml, nested or by dotted keys")
    samplings: tuple[Values, ...] = Field((), description="ways to draw; none: those of the study")

    @model_validator(mode="after")
    def _timesteps(self) -> Arm:
        if (self.family == "diffusion") != (self.timesteps > 0):
            raise ValueError(
                f"timesteps={self.timesteps} with family {self.family}; a diffusion model has T = 1 or more, the others none"
            )
        if self.family != "diffusion" and self.samplings:
            raise ValueError(f"samplings with family {self.family}, which draws in one pass or none; leave them out")
        return self


class Contrast(Section):
    """A claim about two arms, or two ways to draw, and the measure that decides it."""

    claim: str = Field(min_length=1, description="what is claimed, a sentence")
    this: Values = Field(description="arm, and where wanted sampler, steps, ...: what the claim is about")
    against: Values = Field(description="the same of what it is compared with")
    measure: str = Field("", description="what decides; empty: the study's first measure")
    expect: Literal["better", "as_good", "steadier"] = Field(
        "better", description="better; not worse than the other's interval; or less spread between seeds"
    )


class Study(Section):
    """A study."""

    question: str = Field(min_length=1, description="what is asked, one sentence")
    about: str = Field("", description="how the arms were chosen, and what to bear in mind")
    preset: str = Field("", description="what arms start from; empty: the workspace's params.yaml")
    base: Values = Field({}, description="parameters of all arms")
    seeds: tuple[int, ...] = Field(min_length=1, description="one training of each arm for each")
    measures: tuple[str, ...] = Field(("frechet", "accuracy"), min_length=1, description="figures; the first decides")
    plane: tuple[str, ...] = Field((), description="two measures to plot against each other")
    samplings: tuple[Values, ...] = Field(({"steps": [10]},), description="of diffusion arms without their own")
    arms: dict[str, Arm] = Field(min_length=1, description="by name")
    contrasts: tuple[Contrast, ...] = Field((), description="claims that the figures decide")

    @model_validator(mode="after")
    def _known(self) -> Study:
        for name in self.arms:
            if not NAME.fullmatch(name):
                raise ValueError(f"arms.{name}: a name has small letters, digits, - and _, such as wgan-gp")
        if len({arm_spec.family == "transformer" for arm_spec in self.arms.values()}) > 1:
            raise ValueError(
                "arms: a study is of pictures or of text; leave the transformer arms to a study of their own"
            )
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds={list(self.seeds)} names one twice; name each once")
        named = (*self.measures, *self.plane, *(c.measure for c in self.contrasts if c.measure))
        unknown = [name for name in named if name not in METRICS]
        if unknown:
            raise ValueError(f"measures: there is no {', '.join(unknown)}; there are: {', '.join(METRICS)}")
        if len(self.plane) not in (0, 2):
            raise ValueError(f"plane={list(self.plane)}: name two measures, or none")
        for contrast in self.contrasts:
            for side in (contrast.this, contrast.against):
                if side.get("arm") not in self.arms:
                    raise ValueError(
                        f"contrasts: {contrast.claim!r} names the arm {side.get('arm')!r}; there are: {', '.join(self.arms)}"
                    )
                strange = [key for key in side if key not in ("arm", "steps", *Sampling.model_fields)]
                if strange:
                    raise ValueError(
                        f"contrasts: {contrast.claim!r} chooses by {', '.join(strange)}; an arm, steps and sampling parameters do"
                    )
        return self

    @property
    def of_text(self) -> bool:
        """Whether its arms are language models, which read ``data/text`` and draw nothing."""
        return next(iter(self.arms.values())).family == "transformer"

    def params(self, arm: str, seed: int) -> Params:
        """The full parameters that ``arm`` is trained with. Raises ``UserError`` where they are refused."""
        arm_spec = self.arms[arm]
        values = merge(load(preset=self.preset).model_dump(mode="json"), nested(self.base))
        values = merge(merge(values, nested(arm_spec.set)), {"seed": seed})
        if arm_spec.timesteps:
            values = merge(values, {"sweep": {"timesteps": [arm_spec.timesteps], "sampling_steps": [1]}})
        return build(values, f"studies: arm {arm}")

    def ways(self, arm: str) -> list[tuple[Sampling, list[int]]]:
        """Each way to sample from ``arm``, with its numbers of steps S <= T; none for a family that needs one pass."""
        entry = self.arms[arm]
        if entry.family != "diffusion":
            return []
        ways: list[tuple[Sampling, list[int]]] = []
        for written in entry.samplings or self.samplings:
            for sampling, steps in _expanded(dict(written), arm):
                fitting = sorted(
                    {entry.timesteps if isinstance(s, str) else s for s in steps} & set(range(1, entry.timesteps + 1))
                )
                if fitting:
                    ways.append((sampling, fitting))
        if not ways:
            raise UserError(
                f"studies: arm {arm} has T={entry.timesteps} and no S to be sampled at; add an S of at most that."
            )
        return ways

    def check(self) -> Study:
        """Returns itself; ``UserError`` where an arm cannot be trained or sampled, or a claim not be measured."""
        for arm in self.arms:
            params = self.params(arm, self.seeds[0])
            for sampling, _ in self.ways(arm):
                values = params.model_dump(mode="json")
                build(merge(values, {"sampling": sampling.model_dump(mode="json")}), f"studies: arm {arm}")
        possible.check(self)
        return self


def folder(name: str) -> Path:
    """The folder of the study ``name``."""
    return FOLDER / name


def names() -> list[str]:
    """The names of all studies, sorted."""
    return sorted(file.parent.name for file in FOLDER.glob("*/study.yaml"))


def read(name: str) -> Study:
    """The study ``name``, checked; raises ``UserError`` with the key, the value and what is allowed."""
    file = folder(name) / "study.yaml"
    if not file.exists():
        raise UserError(
            f"There is no study {name!r}; there are: {', '.join(names()) or 'none here (`stepladder new FOLDER` makes a project with some)'}."
        )
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"{file} is not YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(values, dict):
        raise UserError(f"{file} holds no keys and values; it needs at least question, seeds and arms.")
    return section(Study, values, str(file)).check()


def nested(values: Mapping[str, Value]) -> Values:
    """``{"diffusion.unet.channels": 8}`` as ``{"diffusion": {"unet": {"channels": 8}}}``; nested values stay nested."""
    result: Values = {}
    for key, value in values.items():
        change: Value = nested(value) if isinstance(value, dict) else value
        first, *inner = str(key).split(".")
        for part in reversed(inner):
            change = {part: change}
        result = merge(result, {first: change})
    return result


def _expanded(written: Values, arm: str) -> list[tuple[Sampling, list[int | str]]]:
    """A sampling with lists of values as a list of samplings, one for each combination of values."""
    steps_value = written.pop("steps", None)
    steps = list(steps_value) if isinstance(steps_value, list | tuple) else [steps_value]
    valid_steps = [s for s in steps if s == "T" or (isinstance(s, int) and not isinstance(s, bool) and s > 0)]
    if not steps or len(valid_steps) < len(steps):
        raise UserError(
            f"studies: arm {arm} has a sampling with steps={steps}; give one or more numbers of steps, or T for all of them."
        )
    choices: dict[str, list[Value]] = {}
    for key, value in written.items():
        if isinstance(value, list) and (key != "guidance_interval" or (value and isinstance(value[0], list))):
            choices[key] = value
        else:
            choices[key] = [value]
    return [
        (section(Sampling, dict(zip(choices, values, strict=True)), f"studies: a sampling of arm {arm}"), valid_steps)
        for values in itertools.product(*choices.values())
    ]

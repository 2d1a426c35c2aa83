"""Checks from the spec of a study, before anything runs, what it can measure and which parameters have an effect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stepladder import stages
from stepladder.errors import UserError
from stepladder.metrics.every import measured
from stepladder.params.backbones import BACKBONES
from stepladder.text_tasks.tasks import FORMS
from stepladder.training.families import FAMILIES
from stepladder.values import Value, Values

if TYPE_CHECKING:
    from stepladder.studies.spec import Study

LEAST_SEEDS = 3  # with fewer, no interval over seeds and no spread is reported
INSTEAD = {
    "seed": "the study's seeds are those of its cells",
    "sampling": "an arm is drawn from as `samplings` says",
    "sweep": "T is the arm's `timesteps`, and S is in `samplings`",
}


@dataclass(frozen=True)
class Point:
    """One arm sampled in one way. Without sampling steps, ``sampling`` is ``None`` and ``steps`` is 1, for text 0."""

    arm: str
    sampling: Values | None
    steps: int
    timesteps: int | None

    def fits(self, side: Values) -> bool:
        """Whether one side of a contrast selects this point."""
        return all(self._matches(key, value) for key, value in side.items())

    def _matches(self, key: str, value: Value) -> bool:
        if key == "arm":
            return bool(self.arm == value)
        if key == "steps":
            return bool(self.steps == (self.timesteps if value == "T" else value))
        sampling_value = (self.sampling or {}).get(key)
        if isinstance(value, list | tuple) and isinstance(sampling_value, list | tuple):
            return list(sampling_value) == list(value)
        return bool(sampling_value == value)


def points(study: Study) -> Iterator[Point]:
    """All points that the study will measure."""
    for arm, arm_spec in study.arms.items():
        if arm_spec.family != "diffusion":
            yield Point(arm, None, 0 if study.of_text else 1, None)
        for sampling, all_steps in study.ways(arm):
            sampling_values = sampling.model_dump(mode="json")
            yield from (Point(arm, sampling_values, steps, arm_spec.timesteps) for steps in all_steps)


def check(study: Study) -> None:
    """Raise ``UserError`` where a claim could never be measured, or a parameter would change nothing."""
    known = list(points(study))
    kinds = [*FORMS] if study.of_text else ["images"]
    for measure in (*study.measures, *study.plane):
        check_measure(measure, kinds, "measures")
    for contrast in study.contrasts:
        where, measure = f"contrasts: {contrast.claim!r}", contrast.measure or study.measures[0]
        check_measure(measure, kinds, where)
        for side in (contrast.this, contrast.against):
            if not any(point.fits(side) for point in known):
                raise UserError(
                    f"{where} asks for {side_text(side)}, which no arm draws; {_ways_text(known, str(side['arm']))}."
                )
            _check_bits(study, where, measure, str(side["arm"]))
        if contrast.this == contrast.against:
            raise UserError(f"{where} compares {side_text(contrast.this)} with itself; name two sides that differ.")
        if contrast.expect == "steadier" and len(study.seeds) < LEAST_SEEDS:
            raise UserError(
                f"{where} is of the spread between seeds, and there are {len(study.seeds)}; give {LEAST_SEEDS} or more."
            )
    for key in _keys(study.base):
        if all(why := [_without_effect(study, arm, key) for arm in study.arms]):
            raise UserError(f"studies: base sets {key}, which would change nothing: {why[0]}; leave it out.")
    for arm, arm_spec in study.arms.items():
        for key in _keys(arm_spec.set):
            if why_not := _without_effect(study, arm, key):
                raise UserError(f"studies: arm {arm} sets {key}, which would change nothing: {why_not}; leave it out.")


def check_task(study: Study, task: str) -> None:
    """Raise ``UserError`` where models of texts of this ``task`` do not have a figure that the study measures."""
    for measure in (*study.measures, *study.plane, *(c.measure for c in study.contrasts if c.measure)):
        check_measure(measure, [task], f"text.task={task}")


def side_text(side: Values) -> str:
    """One side of a contrast in words."""
    return ", ".join(f"{value}" if key == "arm" else f"{key}={value}" for key, value in side.items())


def check_measure(measure: str, kinds: Iterable[str], where: str) -> None:
    """Raise ``UserError`` where models of ``kinds``, see ``metrics.every``, do not have the figure ``measure``."""
    if measure not in (allowed := measured(kinds)):
        raise UserError(f"{where}: {measure} is not measured here; there are: {', '.join(allowed)}.")


def _check_bits(study: Study, where: str, measure: str, arm: str) -> None:
    """Refuse bits/dim, a pass over all held-out pictures, where ``measures`` does not name them or the arm has none."""
    if measure != "bits_per_dim":
        return
    if measure not in study.measures:
        raise UserError(f"{where} is decided by bits_per_dim, which `measures` does not name; add it there.")
    if study.arms[arm].family == "gan":
        raise UserError(f"{where} is decided by bits_per_dim, which arm {arm}, a GAN, has not; choose another measure.")


def _ways_text(known: list[Point], arm: str) -> str:
    arm_points = [point for point in known if point.arm == arm]
    if arm_points[0].sampling is None:
        return f"arm {arm} draws in one pass, without sampling parameters"
    ways: dict[str, set[int]] = {}
    for point in arm_points:
        ways.setdefault(str((point.sampling or {})["sampler"]), set()).add(point.steps)
    listed = "; ".join(f"{sampler} at S={', '.join(map(str, sorted(steps)))}" for sampler, steps in ways.items())
    return f"arm {arm} is drawn from by {listed}"


def _without_effect(study: Study, arm: str, key: str) -> str:
    """The reason why ``key`` has no effect on the cells of ``arm``; empty where it has one."""
    family, section = study.arms[arm].family, key.partition(".")[0]
    record = FAMILIES[family]
    if section in INSTEAD:
        return INSTEAD[section]
    if section == record.data:  # keys of the prepared data, which `checking.check_data` compares
        return ""
    if not record.stage.is_read(key) and not stages.CELLS[record.data].is_read(key):
        return f"no cell of family {family} reads it"
    named = key.split(".")[1] if section == "diffusion" else ""
    if named in BACKBONES and named != (chosen := study.params(arm, study.seeds[0]).diffusion.backbone):
        return f"the network of arm {arm} is {chosen}"
    return ""


def _keys(values: Values, prefix: str = "") -> Iterator[str]:
    """The dotted keys of ``values``, whose keys are nested, dotted or both."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"

"""Checks, before anything runs, that a study's arms can be trained on the prepared data and sampled from as it says."""

from __future__ import annotations

from pathlib import Path

from stepladder.errors import UserError
from stepladder.launching.check import check
from stepladder.params import load
from stepladder.studies.possible import check_task
from stepladder.studies.spec import Study
from stepladder.training.families import FAMILIES


def guide_folder(feature_net: Path) -> Path:
    """Folder of the noisy classifier, for sampling with ``classifier_scale``: next to the feature network's."""
    return feature_net.parent / "noisy-classifier"


def check_arm(study: Study, arm: str, data: Path, feature_net: Path) -> None:
    """Raise ``UserError`` where ``arm`` cannot be trained on ``data``, or cannot be sampled from as ``study`` says."""
    family, params = study.arms[arm].family, study.params(arm, study.seeds[0])
    try:
        check(family, params, data)
        for sampling, _ in study.ways(arm):
            with_sampling = params.model_copy(update={"sampling": sampling})
            check(family, with_sampling, data, classifier=guide_folder(feature_net))
    except UserError as error:
        raise UserError(f"arm {arm}: {error}") from None


def check_data(name: str, study: Study) -> None:
    """Raise ``UserError`` where an arm needs other data than that of ``params.yaml``, which all arms are trained on, or
    figures that models of that data do not have.
    """
    workspace = load()
    for arm, arm_spec in study.arms.items():
        section = FAMILIES[arm_spec.family].data
        wanted, prepared = getattr(study.params(arm, study.seeds[0]), section), getattr(workspace, section)
        if differing := [key for key, value in wanted if value != getattr(prepared, key)]:
            key = differing[0]
            remedy = (
                f"`stepladder params --preset {study.preset} --write` first"
                if study.preset
                else "leave it out of the study"
            )
            raise UserError(
                f"The study {name} is of {section}.{key}={getattr(wanted, key)} and params.yaml has "
                f"{section}.{key}={getattr(prepared, key)}; {remedy}."
            )
    if study.of_text:
        check_task(study, workspace.text.task)

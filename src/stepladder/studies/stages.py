"""The DVC stages of a study: one for each arm and seed, and one for the page; written from its spec.

Paths are from the project's folder (``wdir``). A cell depends on its arm's part of ``study.yaml`` only, so that one
more arm trains one more arm. Its folder persists between runs: a model whose spec, data and code are as they were
is judged again but not trained again.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from stepladder import plugins, project, stages
from stepladder.errors import UserError
from stepladder.params import flatten
from stepladder.studies import spec
from stepladder.studies.spec import Study
from stepladder.training.families import FAMILIES
from stepladder.values import Values

AT_ONCE = "STEPLADDER_AT_ONCE"  # environment variable: how many cells run at once
HEAD = "# Written by `stepladder study stages {name}` from study.yaml, which is the file to change.\n"


def rendered(name: str, study: Study) -> str:
    """``studies/NAME/dvc.yaml``."""
    declared: dict[str, object] = {}
    written = yaml.safe_load((spec.folder(name) / "study.yaml").read_text(encoding="utf-8"))
    for family in FAMILIES:
        arms = [arm for arm, arm_spec in study.arms.items() if arm_spec.family == family]
        if arms:
            declared[family] = _cells(name, study, family, arms, written)
    declared["page"] = {
        "desc": f"Bring the cells of {name} together.",
        "wdir": "../..",
        "cmd": f"stepladder study page {name}",
        "deps": [f"studies/{name}/cells", f"studies/{name}/study.yaml", *stages.paths(stages.STUDY_PAGE.code())],
        "outs": [f"reports/studies/{name}"],
    }
    text = yaml.safe_dump({"stages": declared}, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)
    return HEAD.format(name=name) + text


def _cells(name: str, study: Study, family: str, arms: list[str], written: Values) -> dict[str, object]:
    shared = [
        key
        for key in ("preset", "base", "measures", *(["samplings"] if family == "diffusion" else []))
        if key in written
    ]
    data = FAMILIES[family].data
    trained, judged = stages.TRAINED[family], stages.CELLS[data]
    start: list[object] = [] if study.preset else [*sorted({*trained.reads, *judged.reads})]
    return {
        "desc": f"Train and judge one {family} arm of {name} with one seed.",
        "matrix": {"arm": arms, "seed": list(study.seeds)},
        "wdir": "../..",
        "cmd": f"stepladder study cell {name} ${{item.arm}} ${{item.seed}}",
        "deps": [
            f"data/{data}", *(["models/feature-net"] if data == "images" else []), *([f"presets/{study.preset}.yaml"] if study.preset else []),
            *_custom_code(study, arms), *stages.paths({*trained.code(), *judged.code()}),
        ],
        "params": [*start, {f"studies/{name}/study.yaml": [*shared, "arms.${item.arm}"]}],
        "outs": [{f"studies/{name}/cells/${{item.arm}}-${{item.seed}}": {"persist": True}}],
    }  # fmt: skip


def _custom_code(study: Study, arms: list[str]) -> list[str]:
    """Files of custom code that ``arms`` name, for training or sampling; relative to the project's folder if in it."""
    names: list[str] = []
    for arm in arms:
        ways = [sampling.sampler for sampling, _ in study.ways(arm)] if study.arms[arm].family == "diffusion" else []
        leaves = flatten(study.params(arm, study.seeds[0]))
        names += plugins.named(
            {key: leaves[key] for key in leaves if stages.TRAINED[study.arms[arm].family].is_read(key)}
        )
        names += [way for way in ways if plugins.is_custom(way)]
    root = project.root().resolve()
    files = sorted({file.resolve() for file in plugins.files(names).values()})
    return [str(file.relative_to(root) if root in file.parents else file) for file in files]


def write(name: str) -> Path:
    """Write ``studies/NAME/dvc.yaml`` where it is missing or outdated; returns its path."""
    file = spec.folder(name) / "dvc.yaml"
    text = rendered(name, spec.read(name))
    if not file.exists() or file.read_text(encoding="utf-8") != text:
        file.write_text(text, encoding="utf-8")
    return file


def check(name: str, study: Study) -> None:
    """Raise ``UserError`` where ``dvc.yaml`` is not what ``study.yaml`` says."""
    file = spec.folder(name) / "dvc.yaml"
    if not file.exists() or file.read_text(encoding="utf-8") != rendered(name, study):
        raise UserError(f"{file} is not what study.yaml says; write it with `stepladder study stages {name}`.")


def cells(name: str, study: Study) -> list[str]:
    """The DVC names of all cells, seed by seed, so that a stopped run has complete comparisons."""
    return [
        f"studies/{name}/dvc.yaml:{arm_spec.family}@{arm}-{seed}"
        for seed in study.seeds
        for arm, arm_spec in study.arms.items()
    ]

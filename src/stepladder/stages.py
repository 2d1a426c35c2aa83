"""What each stage of ``dvc.yaml`` runs: where its code begins, and the parameters that it reads.

By the words of its command, such as ``evaluate diffusion`` of ``stepladder evaluate diffusion --timesteps 10``. A training's
is its family's. ``python -m stepladder.stages`` (``make graph``) writes the code into the graphs, and a test holds every stage of
every graph to it, in both directions.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stepladder import dependencies
from stepladder.dependencies import Stage
from stepladder.params import Params, build, merge
from stepladder.training.families import FAMILIES

SOURCE = "src/stepladder"
MASKED_LM = Path("models/classification/masked-lm")
GRAPHS = ("dvc.yaml", "graphs/adaptation/stages.yaml", "graphs/classification/stages.yaml")

TRAINED = {name: family.stage for name, family in FAMILIES.items()}
JUDGED = ("seed", "evaluation")
STAGES = {
    **{
        f"source {key}": Stage((f"data.source:note_{key}",), (f"{key}.source", f"{key}.config", f"{key}.revision"))
        for key in ("images", "text")
    },
    "prepare images": Stage(("data.preparing.images:prepare",), ("seed", "images")),
    "prepare text": Stage(("data.preparing.text:prepare",), ("seed", "text")),
    "prepare own": Stage(
        ("data.preparing.images:prepare_own",),
        ("seed", "images.on_bad_row", "adaptation.pictures", "adaptation.held_out"),
    ),
    **{f"train {name}": stage for name, stage in TRAINED.items()},
    "train classifier": TRAINED["transformer"],
    "adapt": Stage(
        TRAINED["adapted"].functions, tuple(key for key in TRAINED["adapted"].reads if key != "adaptation.method")
    ),
    "evaluate diffusion": Stage(
        ("evaluation.pictures.images:evaluate",), (*JUDGED, "sweep.sampling_steps", "sampling")
    ),
    "evaluate adapted": Stage(("evaluation.adaptation:evaluate",), (*JUDGED, "adaptation.sampling_steps", "sampling")),
    "evaluate transformer": Stage(("evaluation.text:evaluate",), (*JUDGED, "decoding")),
    "evaluate classifier": Stage(("evaluation.text.classes:evaluate",), JUDGED),
    **{f"evaluate {name}": Stage(("evaluation.baselines:evaluate",), JUDGED) for name in ("vae", "gan")},
    "compare": Stage(
        ("reporting.comparison:compare", "reporting.figures:draw"),
        ("sweep.timesteps", "evaluation.confidence", "promotion"),
    ),
    "register": Stage(
        (
            "tracking.registry:register",
            "tracking.pyfunc_diffusion:DiffusionModel",
            "tracking.pyfunc_transformer:LanguageModel",
        ),
        (*JUDGED, "sampling", "decoding", "promotion"),
    ),
    "report": Stage(("reporting.report:write",), tuple(Params.model_fields)),  # its page shows them all
}
CELLS = {
    "images": Stage(("studies.cell:judged",), JUDGED),
    "text": Stage(("studies.text_cell:judged",), (*JUDGED, "decoding")),
}
"""What judges a cell of a study, or a child of a sweep, by the kind of data that its family learns from."""
STUDY_PAGE = Stage(("studies.page:write",), ())


def of_command(command: str) -> Stage:
    """The stage whose command is ``stepladder ...``.

    Raises:
        KeyError: there is none.
    """
    words = shlex.split(command)[1:]
    return STAGES[" ".join(words[: next((i for i, word in enumerate(words) if word.startswith("-")), len(words))])]


def training_of(command: str, params: Params) -> tuple[str, Params, int | None] | None:
    """Family, parameters and T of the training that a stage's command is, where the workspace has ``params``; None: it is none."""
    words = shlex.split(command)[1:]
    options = dict(itertools.pairwise(words))
    timesteps = int(options["--timesteps"]) if "--timesteps" in options else None
    if words[:2] == ["train", "classifier"]:
        return "transformer", classifier(params, options.get("--start", "pretrained")), None
    if words[0] == "adapt":
        changed = {"adaptation": {"method": options.get("--method", params.adaptation.method)}}
        return "adapted", build(merge(params.model_dump(mode="json"), changed)), None
    return (words[1], params, timesteps) if words[0] == "train" else None


def classifier(params: Params, start: str) -> Params:
    """``params`` for a classifier of texts that starts from the masked model ("pretrained"), or from nothing ("scratch")."""
    base = str(MASKED_LM) if start == "pretrained" else ""
    return build(merge(params.model_dump(mode="json"), {"transformer": {"base": base}}))


def paths(files: Iterable[str]) -> list[str]:
    """Source files as dependencies of a graph: a folder for all of its files, where all are meant."""
    left, found = {Path(file) for file in files}, []
    folders = sorted({parent for file in left for parent in file.parents if parent != Path()})
    for folder in folders:
        inside = {
            file.relative_to(dependencies.HOME)
            for file in (dependencies.HOME / folder).rglob("*")
            if file.is_file() and "__pycache__" not in file.parts and not dependencies.is_bare(file)
        }
        if inside <= left:
            left -= inside
            found.append(folder)
    return [f"{SOURCE}/{path.as_posix()}" for path in sorted([*found, *left])]


def code_of(entry: Any) -> list[str]:
    """The dependencies on code that a stage of a graph is to have; of a stage for each of several items those of all."""
    command, items = entry.get("do", entry)["cmd"], entry.get("foreach")
    keys = list(items) if "${key}" in command else [""]
    commands = [command.replace("${key}", key).replace("${item}", "0") for key in keys]
    return paths({file for text in commands for file in of_command(text).code()})


def write(graph: Path) -> None:
    """Put the code and the parameters that each stage depends on into ``graph``, and leave all else as it is."""
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedSeq

    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 130
    yaml.indent(mapping=2, sequence=4, offset=2)
    content = yaml.load(graph.read_text(encoding="utf-8"))
    for entry in content["stages"].values():
        stage = entry.get("do", entry)
        kept = [path for path in stage["deps"] if not path.startswith(SOURCE)]
        stage["deps"].clear()
        stage["deps"].extend([*kept, *code_of(entry)])
        stage["deps"].fa.set_block_style()
        if "${key}" not in stage["cmd"]:  # of several items each has a section of its own
            stage["params"] = CommentedSeq(of_command(stage["cmd"].replace("${item}", "0")).reads)
            if len(stage["params"]) <= 8:
                stage["params"].fa.set_flow_style()
    with graph.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)


if __name__ == "__main__":
    for graph in GRAPHS:
        write(Path(graph))

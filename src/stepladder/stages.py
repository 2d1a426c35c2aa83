"""The code that each stage of ``dvc.yaml`` runs, by its entry points, and the parameters that it reads.

Keys are the words of its command, such as ``evaluate diffusion`` for ``stepladder evaluate diffusion --timesteps 10``. Trainings
have the stage of their family. ``python -m stepladder.stages`` (``make graph``) writes the code into the graphs, and a test compares
every stage of every graph with it, in both directions.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml

from stepladder import dependencies, installed, plugins
from stepladder.dependencies import Stage
from stepladder.errors import UserError
from stepladder.params import Params, build, merge
from stepladder.text_tasks.tasks import FORMS, TASKS
from stepladder.training.families import FAMILIES
from stepladder.values import Values

SOURCE = installed.SOURCE.as_posix()
MASKED_LM = Path("models/classification/masked-lm")
GRAPHS = ("dvc.yaml", "graphs/adaptation/stages.yaml", "graphs/classification/stages.yaml")

TRAINED = {name: family.stage for name, family in FAMILIES.items()}
JUDGED = ("seed", "evaluation")
RECORDS = "text_tasks.tasks:TASKS"
OF_TEXT = tuple(code for task in TASKS.values() for code in (task.judging.judge, *task.using))
STAGES = {
    **{
        f"source {key}": Stage((f"data.source:note_{key}",), (f"{key}.source", f"{key}.config", f"{key}.revision"))
        for key in ("images", "text")
    },
    "source code": Stage(("data.source:note_code",), plugins.KEYS[:4]),
    "prepare images": Stage(("data.preparing.images:prepare",), ("seed", "images")),
    "prepare text": Stage(
        ("data.preparing.text:prepare", *(form.prepare for form in FORMS.values())), ("seed", "text")
    ),
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
    "evaluate transformer": Stage(("evaluation.text:evaluate", *OF_TEXT), (*JUDGED, "decoding")),
    "evaluate classifier": Stage(("evaluation.text.classes:evaluate",), JUDGED),
    **{f"evaluate {name}": Stage(("evaluation.baselines:evaluate",), JUDGED) for name in ("vae", "gan")},
    "compare": Stage(
        ("reporting.comparison:compare", "reporting.figures:plot_all", RECORDS),
        ("sweep.timesteps", "evaluation.confidence", "promotion"),
    ),
    "register": Stage(
        (
            "tracking.registry:register",
            "tracking.pyfunc_diffusion:DiffusionModel",
            "tracking.pyfunc_transformer:LanguageModel",
            *(code for task in TASKS.values() for code in task.using),
            RECORDS,
        ),
        (*JUDGED, "sampling", "decoding", "promotion"),
    ),
    "report": Stage(
        ("reporting.report:write", *(task.page.section for task in TASKS.values()), RECORDS), tuple(Params.model_fields)
    ),  # its page shows them all
}
CELLS = {
    "images": Stage(("studies.cell:judge_model",), JUDGED),
    "text": Stage(("studies.text_cell:judge_model", *OF_TEXT, RECORDS), (*JUDGED, "decoding")),
}
"""The stage that judges a cell of a study, or a child of a sweep, by the kind of data that its family learns from."""
STUDY_PAGE = Stage(("studies.page:write", RECORDS), ())


def of_command(command: str) -> Stage:
    """The stage whose command is ``stepladder ...``.

    Raises:
        KeyError: there is none.
    """
    words = shlex.split(command)[1:]
    return STAGES[" ".join(words[: next((i for i, word in enumerate(words) if word.startswith("-")), len(words))])]


def training_of(command: str, params: Params) -> tuple[str, Params, int | None] | None:
    """Family, parameters and T of a stage's command that trains, in a workspace with ``params``; None for other commands."""
    words = shlex.split(command)[1:]
    options = dict(itertools.pairwise(words))
    timesteps = int(options["--timesteps"]) if "--timesteps" in options else None
    if words[:2] == ["train", "classifier"]:
        return "transformer", classifier(params, options.get("--start", "pretrained")), None
    if words[0] == "adapt":
        changed: Values = {"adaptation": {"method": options.get("--method", params.adaptation.method)}}
        return "adapted", build(merge(params.model_dump(mode="json"), changed)), None
    return (words[1], params, timesteps) if words[0] == "train" else None


def classifier(params: Params, start: str) -> Params:
    """``params`` for a classifier of texts that starts from the masked model ("pretrained"), or from nothing ("scratch")."""
    base = str(MASKED_LM) if start == "pretrained" else ""
    return build(merge(params.model_dump(mode="json"), {"transformer": {"base": base}}))


def paths(files: Iterable[str]) -> list[str]:
    """Source files as dependencies of a graph; a folder stands for its files where all of them are needed."""
    remaining, complete = {Path(file) for file in files}, []
    folders = sorted({parent for file in remaining for parent in file.parents if parent != Path()})
    for folder in folders:
        inside = {
            file.relative_to(dependencies.HOME)
            for file in (dependencies.HOME / folder).rglob("*")
            if file.is_file() and "__pycache__" not in file.parts and not dependencies.is_bare(file)
        }
        if inside <= remaining:
            remaining -= inside
            complete.append(folder)
    return [f"{SOURCE}/{path.as_posix()}" for path in sorted([*complete, *remaining])]


def code_of(entry: Any) -> list[str]:
    """The dependencies on code that a stage of a graph must have; a stage with several items has those of all items."""
    command, items = entry.get("do", entry)["cmd"], entry.get("foreach")
    keys = list(items) if "${key}" in command else [""]
    commands = [command.replace("${key}", key).replace("${item}", "0") for key in keys]
    return paths({file for text in commands for file in of_command(text).code()})


def is_ours(entry: Any) -> bool:
    """Whether a stage of a graph runs a verb of stepladder; users may add others."""
    command = entry.get("do", entry).get("cmd")
    keys = [*entry["foreach"]] if isinstance(command, str) and "${key}" in command else [""]
    try:
        return command.startswith("stepladder ") and all(of_command(command.replace("${key}", key)) for key in keys)
    except (AttributeError, KeyError):
        return False


def differing(graph: Path) -> dict[str, str]:
    """Commands, by stage name, of the stages in ``graph`` whose dependencies are not exactly the code that they run, or lack a
    parameter that they read or a result that this version's stage of that command reads.
    """
    commands = {}
    for name, entry in _entries(graph).items():
        stage = entry.get("do", entry)
        if is_ours(entry):
            deps, params = (list(map(str, stage.get(key, []))) for key in ("deps", "params"))
            reads = () if "${key}" in stage["cmd"] else of_command(stage["cmd"].replace("${item}", "0")).reads
            code = [dep for dep in deps if dep.startswith(f"{SOURCE}/")]
            if code != code_of(entry) or not {*reads, *results_of(stage["cmd"])} <= {*params, *deps}:
                commands[name] = stage["cmd"]
    return commands


def lacking(graph: Path) -> list[str]:
    """Commands of this version's ``dvc.yaml`` that ``graph`` has no stage for."""
    present = {entry.get("do", entry).get("cmd") for entry in _entries(graph).values() if is_ours(entry)}
    expected = (entry.get("do", entry)["cmd"] for entry in _entries(installed.template() / GRAPHS[0]).values())
    return [command for command in expected if command not in present]


def results_of(command: str) -> tuple[str, ...]:
    """The dependencies, apart from code, of the stage with exactly this ``command`` in the package's graphs."""
    return _results().get(command, ())


@cache
def _results() -> dict[str, tuple[str, ...]]:
    entries = [entry for graph in GRAPHS for entry in _entries(installed.template() / graph).values()]
    stages = [entry.get("do", entry) for entry in entries]
    return {stage["cmd"]: tuple(dep for dep in stage["deps"] if not dep.startswith(f"{SOURCE}/")) for stage in stages}


def _entries(graph: Path) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], yaml.safe_load(graph.read_text(encoding="utf-8"))["stages"])


def graphs(root: Path) -> list[Path]:
    """The graphs in the project in ``root``, and the copies of them that are run."""
    named = [root / graph for graph in GRAPHS]
    named += [graph.with_name("dvc.yaml") for graph in named if graph.name != "dvc.yaml"]
    return [graph for graph in named if graph.exists()]


def check(root: Path, command: str = "") -> None:
    """Check that DVC, in a project with an installed package, compares the code that runs.

    Args:
        command: check only the stages with this command, such as ``stepladder train diffusion``; empty: all.

    Raises:
        UserError: the project is linked to another installation, or its stages name other code than they run, or lack parameters.
    """
    installed.check(root)
    if not installed.is_made(root):
        return
    wanted = of_command(command) if command else None
    for graph in graphs(root):
        commands = differing(graph)
        names = [name for name, cmd in commands.items() if wanted is None or _is_of(cmd, wanted)]
        if names:
            raise UserError(
                f"{graph.relative_to(root)} does not name all that this stepladder runs and reads in {', '.join(names)}; "
                "`stepladder link` writes it."
            )


def _is_of(command: str, stage: Stage) -> bool:
    """Whether a graph's ``command`` belongs to ``stage``, for any of its items."""
    keys = ("images", "text") if "${key}" in command else ("",)
    return any(of_command(command.replace("${key}", key)) == stage for key in keys)


def write(graph: Path) -> None:
    """Put the code and the parameters that each stage depends on into ``graph``, and leave all else as it is."""
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedSeq

    form = YAML()
    form.preserve_quotes, form.width = True, 130
    form.indent(mapping=2, sequence=4, offset=2)
    content = form.load(graph.read_text(encoding="utf-8"))
    for entry in filter(is_ours, content["stages"].values()):
        stage = entry.get("do", entry)
        kept = [path for path in stage["deps"] if not str(path).startswith(SOURCE)]
        kept += [path for path in results_of(stage["cmd"]) if path not in kept]
        stage["deps"].clear()
        stage["deps"].extend([*kept, *code_of(entry)])
        stage["deps"].fa.set_block_style()
        if "${key}" not in stage["cmd"]:  # with several items each has its own section
            stage["params"] = CommentedSeq(of_command(stage["cmd"].replace("${item}", "0")).reads)
            if len(stage["params"]) <= 8:
                stage["params"].fa.set_flow_style()
    with graph.open("w", encoding="utf-8") as file:
        form.dump(content, file)


if __name__ == "__main__":
    for graph in GRAPHS:
        write(Path(graph))

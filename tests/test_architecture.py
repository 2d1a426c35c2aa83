"""The arrows of docs/architecture.md: which package may import which."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from stepladder.diffusion.processes.processes import PROCESSES
from stepladder.diffusion.samplers.samplers import SAMPLERS
from stepladder.text_tasks.tasks import TASKS
from stepladder.transformer.networks.description import every

SOURCE = Path("src/stepladder")
BELOW = {
    "diffusion.processes": set(),
    "diffusion.samplers": {"diffusion.processes"},
    "params": {"diffusion.processes", "diffusion.samplers"},
    "data": set(),
    "tasks": {"data"},
    "journal": set(),
    "metrics": set(),
    "judgement": {"data"},
    "diffusion": {"data", "tasks", "transformer"},
    "transformer": {"data", "tasks"},
    "baselines": {"data", "tasks"},
    "training": {"data", "tasks"},
    "launching": {"data", "training", "tracking"},
    "evaluation": {"data", "tasks", "judgement", "diffusion", "transformer", "baselines"},
    "tracking": {"data", "judgement", "diffusion", "transformer"},
    "reporting": {"data", "judgement"},
    "serving": {"data", "diffusion", "transformer", "tracking"},
    "planning": {"data", "launching", "training", "studies", "sweeps", "stages"},
    "sweeps": {"data", "stages", "launching", "training", "evaluation", "tracking", "studies"},
    "studies": {
        "data",
        "judgement",
        "stages",
        "diffusion",
        "baselines",
        "launching",
        "training",
        "tracking",
        "evaluation",
        "reporting",
    },
}
EVERYWHERE = {
    "errors",
    "project",
    "slots",
    "disk",
    "absent",
    "dependencies",
    "description",
    "loading",
    "history",
    "installed",
    "journal",
    "lineage",
    "metrics",
    "plugins",
    "processes",
    "registration",
    "replacing",
    "text_tasks",
    "values",
}


def imports(file: Path) -> set[str]:
    """What it imports when it runs, at its top or in a function."""
    return set(_imports(ast.parse(file.read_text(encoding="utf-8"))))


def _imports(node: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            yield from (name for statement in child.orelse for name in _imports(statement))
        elif isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            yield from (child.module, *(f"{child.module}.{alias.name}" for alias in child.names))
        else:
            yield from _imports(child)


def inside(names: set[str]) -> set[str]:
    return {name.removeprefix("stepladder.") for name in names if name.startswith("stepladder.")}


def package_of(module: str) -> str:
    """The package that a module is of: a part of one where that stands on a floor of its own."""
    parts = module.split(".")
    part = ".".join(parts[:2])
    return part if part in BELOW else parts[0]


def test_packages_import_only_what_is_below_them():
    for file in SOURCE.rglob("*.py"):
        package = package_of(".".join(file.relative_to(SOURCE).with_suffix("").parts))
        for name in inside(imports(file)) if package in BELOW else ():
            known = {package} | BELOW[package] | EVERYWHERE | ({"params"} if package not in BELOW["params"] else set())
            parts = {part for part in BELOW if part.partition(".")[0] in known}
            assert package_of(name) in known | parts, f"{file} imports stepladder.{name}"


def test_the_ground_floor_stands_on_itself():
    """What every package may import imports no package but the parameters."""
    for file in SOURCE.rglob("*.py"):
        name = ".".join(file.relative_to(SOURCE).with_suffix("").parts)
        if package_of(name) in EVERYWHERE:
            for other in inside(imports(file)):
                assert package_of(other) in EVERYWHERE | {"params"}, f"{file} imports stepladder.{other}"


def test_no_package_is_below_itself():
    """What a package may import, and what that may import in turn, never leads back to it."""
    for package in BELOW:
        reached, waiting = set(), list(BELOW[package])
        while waiting:
            name = waiting.pop()
            if name not in reached:
                reached.add(name)
                waiting += BELOW.get(name, ())
        assert package not in reached, f"{package} imports what imports it"


def test_no_module_imports_what_imports_it():
    """At its top or in a function: what each reaches never leads back to it."""
    files = {".".join(file.relative_to(SOURCE).with_suffix("").parts): file for file in SOURCE.rglob("*.py")}
    arrows = {name: (inside(imports(file)) & files.keys()) - {name} for name, file in files.items()}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"a circle: {' -> '.join((*way[way.index(name) :], name))}"
        if name not in done:
            for other in sorted(arrows[name]):
                visit(other, (*way, name))
            done.add(name)

    for name in files:
        visit(name, ())


def asked(node: ast.AST) -> list[ast.AST]:
    """What is compared or looked up at a branch; nothing, where there is none."""
    if isinstance(node, ast.Compare):
        return [node.left, *node.comparators]
    if isinstance(node, ast.Match):
        return [node.subject, *(case.pattern for case in node.cases)]
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Dict):
        return [*filter(None, node.value.keys), node.slice]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return [*filter(None, getattr(node.func.value, "keys", [])), *node.args]
    return []


def words(nodes: Iterable[ast.AST]) -> set[object]:
    return {word.value for node in nodes for word in ast.walk(node) if isinstance(word, ast.Constant)}


def test_processes_and_samplers_are_asked_for_by_name_in_their_own_records_only():
    """No branch on a name elsewhere: what one needs of a process or sampler, it asks of its record."""
    for file in SOURCE.rglob("*.py"):
        if {"processes", "samplers"} & set(file.relative_to(SOURCE).parts):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            sides = asked(node)
            about = any(word in ast.unparse(side) for side in sides for word in ("process", "sampler"))
            found = words(sides) & {*PROCESSES, *SAMPLERS}
            assert not (about and found), f"{file}:{node.lineno} asks for {found}"


def test_text_tasks_are_asked_for_by_name_in_their_own_records_only():
    """No branch on a name elsewhere, no table of several, and no branch on the type of a description."""
    types = {description.__name__ for description in every()}
    for file in (*SOURCE.rglob("*.py"), *Path("pipelines").rglob("*.py")):
        if file == SOURCE / "text_tasks" / "tasks.py":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            sides = asked(node)
            about = any(word in ast.unparse(side) for side in sides for word in ("task", "form", "prepared", "kind"))
            found = words(sides) & TASKS.keys()
            assert not (about and found), f"{file}:{node.lineno} asks for {found}"
            listed = node.keys if isinstance(node, ast.Dict) else getattr(node, "elts", [])
            several = words(item for item in listed if isinstance(item, ast.Constant)) & TASKS.keys()
            assert len(several) < 2, f"{file}:{node.lineno} has a table of {several}"
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
                asks = {word.id for word in ast.walk(node.args[1]) if isinstance(word, ast.Name)} & types
                assert not asks, f"{file}:{node.lineno} asks for {asks}"


def test_models_and_data_know_no_pipeline_tool():
    for package in ("data", "diffusion", "transformer", "evaluation", "training"):
        for file in (SOURCE / package).rglob("*.py"):
            tools = {name.split(".")[0] for name in imports(file)} & {"mlflow", "prefect", "dvc"}
            assert not tools, f"{file} imports {tools}"


def test_networks_know_no_lightning():
    for package in ("diffusion", "transformer"):
        for file in (SOURCE / package).rglob("*.py"):
            if not file.name.endswith("task.py"):
                assert "pytorch_lightning" not in {name.split(".")[0] for name in imports(file)}, file


def test_the_package_knows_nothing_of_the_flows():
    for file in SOURCE.rglob("*.py"):
        if file.name != "doctor.py":
            assert not {name.split(".")[0] for name in imports(file)} & {"pipelines", "prefect"}, file


def test_nothing_reads_or_writes_pickle():
    """Models are safetensors and JSON; Lightning's checkpoints are read with ``weights_only``."""
    for file in (*SOURCE.rglob("*.py"), *Path("pipelines").rglob("*.py")):
        assert not imports(file) & {"pickle", "cloudpickle", "dill", "joblib"}, file
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            assert called != "torch.save", f"{file}:{node.lineno}"
            if called == "torch.load":
                safe = {word.arg: ast.unparse(word.value) for word in node.keywords}.get("weights_only")
                assert safe == "True", f"{file}:{node.lineno} loads without weights_only=True"

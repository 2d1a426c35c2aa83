"""The arrows of docs/architecture.md: which package may import which."""

import ast
from pathlib import Path

SOURCE = Path("src/stepladder")
BELOW = {
    "data": set(),
    "diffusion": {"data", "transformer"},
    "transformer": {"data"},
    "baselines": {"data"},
    "training": {"data", "tracking"},
    "evaluation": {"data", "diffusion", "transformer", "baselines"},
    "tracking": {"data", "diffusion", "transformer"},
    "reporting": {"data"},
    "serving": {"data", "diffusion", "transformer", "tracking"},
    "planning": {"training", "studies", "sweeps"},
    "sweeps": {"data", "training", "evaluation", "tracking", "studies"},
    "studies": {"data", "diffusion", "baselines", "training", "tracking", "evaluation", "reporting"},
}
EVERYWHERE = {"params", "errors", "project", "slots", "disk"}
TASK_HELPERS = {"training.experiment", "training.optim", "training.randomness", "training.journal"}


def imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def inside(names: set[str]) -> set[str]:
    return {name.removeprefix("stepladder.") for name in names if name.startswith("stepladder.")}


def test_packages_import_only_what_is_below_them():
    for package, below in BELOW.items():
        for file in (SOURCE / package).rglob("*.py"):
            for name in inside(imports(file)):
                first = name.split(".")[0]
                allowed = first in below | EVERYWHERE | {package} or any(name.startswith(h) for h in TASK_HELPERS)
                assert allowed or name == "training", f"{file} imports stepladder.{name}"


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

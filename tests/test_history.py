"""What is decided and what happened: taken apart, and brought together again."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepladder import history
from stepladder.errors import UserError
from tests import kept

NAMES = st.sampled_from(["a", "b", *history.TIMES])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)
HEADER = {"key": "k1", "family": "diffusion", "experiment": "x", "params": {"seed": 0}, "world_size": 1,
          "git_commit": "c" * 40, "git_dirty": True, "dvc_lock": "d" * 64, "flow_run": "f", "started": 5.0}  # fmt: skip
LINES = [
    {"step": 10, "time": 6.0, "metrics": {"train/loss": 2.0, "system/cpu_utilization_percentage": 50.0}},
    {"step": 10, "time": 6.5, "metrics": {"system/system_memory_usage_megabytes": 1.0}},
    {"step": 20, "time": 7.0, "metrics": {"validation/loss": 1.0}},
    {"step": 20, "time": 7.0, "artifact": "previews/step-20.png"},
]
FIGURES = {"validation/loss": 1.0, "steps": 20, "seconds": 3.5}
RUN = {"run_id": "r1", "parent_run_id": None, "experiment_id": "1", "tracking_uri": "sqlite:///x"}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def model(**changes) -> Path:
    given = {
        "header": HEADER,
        "lines": LINES,
        "run": RUN,
        "figures": FIGURES,
        "pictures": {"step-20.png": b"p"},
    } | changes
    return kept.keep(Path("models/m"), **given)


@given(st.dictionaries(NAMES, VALUES, max_size=4))
@settings(max_examples=200, deadline=None)
def test_what_is_written_is_read_and_its_file_holds_no_times(content):
    file = Path("metrics.json")
    history.write(file, content)
    assert history.read(file) == content
    assert not [name for name in history.TIMES if f'"{name}":' in file.read_text()]


@given(st.dictionaries(NAMES, VALUES, max_size=4), st.floats(0, 9))
@settings(max_examples=50, deadline=None)
def test_other_times_change_no_byte(content, seconds):
    history.write(Path("one.json"), content | {"seconds": 1.0})
    history.write(Path("other.json"), content | {"seconds": seconds})
    assert Path("one.json").read_bytes() == Path("other.json").read_bytes()
    assert history.read(Path("other.json"))["seconds"] == seconds


def test_the_same_training_on_another_day_leaves_the_same_model():
    first = bytes_of(model())
    later = {"git_commit": "e" * 40, "git_dirty": False, "dvc_lock": None, "flow_run": "", "started": 99.0}
    lines = [line | {"time": line["time"] + 90} for line in LINES]
    lines[1]["metrics"] = {"system/system_memory_usage_megabytes": 7.0}
    lines[0]["metrics"] = {"train/loss": 2.0}
    run = RUN | {"run_id": "r2"}
    second = bytes_of(model(header=HEADER | later, lines=lines, run=run, figures=FIGURES | {"seconds": 9.0}))
    assert first == second
    assert set(first) == {history.TRAINING, history.CURVE}
    assert history.run(Path("models/m"))["run_id"] == "r2"


def test_all_that_is_known_of_a_model():
    made = model()
    assert history.run(made) == HEADER | RUN | {"figures": FIGURES}
    assert history.header(made) == HEADER
    assert history.key(made) == "k1"
    assert history.curve(made) == [
        {"step": 10, "metrics": {"train/loss": 2.0}},
        {"step": 20, "metrics": {"validation/loss": 1.0}},
    ]
    assert history.times(made) == [5.0, 6.0, 6.5, 7.0, 7.0]
    there = history.folder_of("k1")
    assert (there / history.PREVIEWS / "step-20.png").read_bytes() == b"p"
    assert [json.loads(line) for line in (there / history.JOURNAL).read_text().splitlines()[1:]] == LINES
    assert history.models(Path("models")) == [made]


def test_a_model_that_came_without_its_history(here):
    """As by ``dvc pull``: what is decided is known, and a journal to be sent is made of it."""
    made = model()
    (here / history.FOLDER).rename(here / "elsewhere")
    known = history.run(made)
    assert known["figures"] == {"validation/loss": 1.0, "steps": 20}
    assert known.get("run_id") is None
    assert history.times(made) == []
    header = history.header(made)
    assert (header["experiment"], header["params"], header["git_commit"]) == ("x", {"seed": 0}, None)
    lines = [json.loads(line) for line in history.journal(made).read_text().splitlines()]
    assert lines[0] == {"header": header}
    assert [line["metrics"] for line in lines[1:]] == [line["metrics"] for line in history.curve(made)]
    assert not [line for line in lines[1:] if "time" not in line]
    assert set(bytes_of(made)) == {history.TRAINING, history.CURVE}


def test_another_project_s_history_is_asked_by_name(here):
    made = model()
    (here / history.FOLDER).rename(here / "elsewhere")
    assert history.run(made, here / "elsewhere")["run_id"] == "r1"


def test_where_there_is_no_model_nothing_is_known():
    absent = Path("models/absent")
    assert (history.run(absent), history.header(absent), history.curve(absent), history.key(absent)) == (
        {},
        {},
        [],
        None,
    )
    assert history.read(absent / "metrics.json") == {}


def test_a_damaged_file_is_one_sentence():
    made = model()
    (made / history.TRAINING).write_text("{")
    with pytest.raises(UserError, match=r"training\.json is not JSON"):
        history.training(made)
    assert history.key(made) is None

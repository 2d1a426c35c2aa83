"""Which stages each flow runs, of the project's own graph: named here one by one, so that no flow does more than it says."""

import shutil

import pytest
import yaml

from pipelines import deployments, graph, selection
from stepladder.params import build, render
from tests.pipelines import project
from tests.pipelines.project import ROOT

PICTURES = {"source@images", "own-code", "prepare@images", "train-diffusion@10"}
JUDGED = {*PICTURES, "feature-net", "noisy-classifier", "evaluate-diffusion@10"}
TEXT = {"source@text", "prepare@text", "train-transformer"}
TRANSLATED = {*TEXT, "evaluate-transformer"}
PAGES = {"compare", "report"}
RUNS = {
    ("train", "diffusion"): PICTURES,
    ("train", "transformer"): TEXT,
    ("evaluate", "diffusion"): JUDGED,
    ("evaluate", "transformer"): TRANSLATED,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> graph.Graph:
    """The stages of the repository's dvc.yaml, for one T."""
    folder = project.make(tmp_path_factory.mktemp("whole") / "project")
    shutil.copy(ROOT / "dvc.yaml", folder)
    sweep = {"timesteps": [10], "sampling_steps": [1]}
    (folder / "params.yaml").write_text(render(build({"sweep": sweep})), encoding="utf-8")
    return graph.read(folder)


@pytest.mark.parametrize(("verb", "models"), RUNS)
def test_a_flow_runs_what_it_names_and_what_that_needs(whole, verb, models):
    assert set(selection.of(verb, models)(whole)) == RUNS[verb, models]


def test_flows_of_every_declared_model_never_register_and_train_only_what_they_judge(whole):
    for stage in whole:
        verb, _, models = graph.family(stage).partition("-")
        if verb in ("train", "evaluate"):
            part = selection.of(verb, models)(whole)
            assert not {"register", *PAGES} & set(part)
            others = {s for s in part if s.startswith("train-") and graph.family(s) != f"train-{models}"}
            assert not others, f"{verb} {models} trains {others}"


def test_the_report_runs_pages_and_pipeline_everything(whole):
    assert set(selection.pages(whole)) == PAGES
    assert selection.everything(whole) == whole
    assert set(whole) == {*JUDGED, *TRANSLATED, *PAGES, "register"}


def test_an_experiment_is_compared_exactly_where_nothing_more_must_run(whole):
    part = selection.of("evaluate", "diffusion")(whole)
    assert selection.compared(whole, part, []) == part
    assert set(selection.compared(whole, part, TRANSLATED)) == {*JUDGED, "compare"}
    assert selection.compared(whole, part, TEXT) == part
    trained = selection.of("train", "diffusion")(whole)
    assert selection.compared(whole, trained, TRANSLATED) == trained


def test_only_comparisons_make_the_figures_of_dvc():
    """So that an experiment without one has none."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    measuring = {name for name, stage in stages.items() if {"metrics", "plots"} & set(stage.get("do", stage))}
    assert measuring == {selection.COMPARE}


def test_every_flow_is_accounted_for():
    assert {flow.name for flow in deployments.FLOWS} == {
        "pipeline", "train", "sweep", "evaluate", "report",  # above; the rest are one verb of the command line
        "promote", "reproduce", "predict",
    }  # fmt: skip

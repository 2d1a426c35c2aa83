import json

import pytest

from stepladder.tracking import runs, store
from stepladder.tracking.evaluations import record, record_comparison
from tests.tracking import made


def series(run_id, name):
    return {p.step: p.value for p in store.client().get_metric_history(run_id, name)}


def count(run_id):
    client = store.client()
    return sum(len(client.get_metric_history(run_id, name)) for name in client.get_run(run_id).data.metrics)


def test_quality_against_s_and_t(project):
    opened = {}
    for timesteps, values in {20: {1: 3.0, 5: 0.7, 20: 0.6}, 50: {1: 4.0, 5: 0.55}}.items():
        begin = made.header(timesteps=timesteps, key=f"key{timesteps}")
        opened[timesteps] = runs.open_run(begin)
        model = made.finished(project / "models" / f"T{timesteps}", begin)
        report = made.evaluation(project / "reports" / f"T{timesteps}", timesteps, values)
        record(model, report)
        record(model, report)
    child, parent = opened[20]["run_id"], opened[20]["parent_run_id"]
    assert series(child, "eval/frechet") == {1: 3.0, 5: 0.7, 20: 0.6}
    figures = store.client().get_run(child).data.metrics
    assert figures["best_frechet"] == 0.6
    assert figures["best_sampling_steps"] == 20
    assert figures["best_frechet_over_floor"] == 1.2
    assert series(parent, "frechet/T20") == {1: 3.0, 5: 0.7, 20: 0.6}
    assert series(parent, "frechet/T50") == {1: 4.0, 5: 0.55}
    assert series(parent, "best/frechet") == {20: 0.6, 50: 0.55}
    assert series(parent, "best/sampling_steps") == {20: 20, 50: 5}
    assert len(store.client().get_metric_history(child, "eval/frechet")) == 3
    files = {file.path for file in store.client().list_artifacts(child, "evaluation")}
    assert files == {"evaluation/metrics.json", "evaluation/samples-S1.png"}


def test_further_figures_are_the_training_s_and_bits_per_dim_stands_beside_the_best(project):
    opened = runs.open_run(made.header())
    report = made.evaluation(project / "reports" / "T20", 20, {5: 0.7})
    metrics = json.loads((report / "metrics.json").read_text())
    metrics["points"][0] |= {"recall": 0.8, "network_evaluations": 5.0}
    (report / "metrics.json").write_text(json.dumps(metrics | {"likelihood": {"bits_per_dim": 4.5}}))
    record(made.finished(project / "models" / "T20"), report)
    assert series(opened["run_id"], "eval/recall") == {5: 0.8}
    assert series(opened["run_id"], "eval/bits_per_dim") == {20: 4.5}
    assert series(opened["parent_run_id"], "best/bits_per_dim") == {20: 4.5}
    assert "recall/T20" not in store.client().get_run(opened["parent_run_id"]).data.metrics


def test_what_draws_in_one_pass_has_one_point(project):
    opened = runs.open_run(made.header())
    report = project / "reports" / "vae"
    report.mkdir(parents=True)
    (report / "metrics.json").write_text(json.dumps({"family": "vae", "point": {"frechet": 2.0, "recall": 0.4}}))
    record(made.finished(project / "models" / "vae"), report)
    assert store.client().get_run(opened["run_id"]).data.metrics == {"eval/frechet": 2.0, "eval/recall": 0.4}


def test_a_new_evaluation_is_recorded_beside_the_old(project):
    run = runs.open_run(made.header())
    model = made.finished(project / "models" / "T20")
    record(model, made.evaluation(project / "reports" / "T20", 20, {5: 0.7}))
    record(model, made.evaluation(project / "reports" / "T20", 20, {5: 0.5}))
    assert store.client().get_run(run["run_id"]).data.metrics["eval/frechet"] == 0.5


def test_translations(project):
    begin = made.header(**made.TRANSLATION)
    run = runs.open_run(begin)
    model = made.finished(project / "models" / "transformer", begin)
    report = project / "reports" / "transformer"
    report.mkdir(parents=True)
    metrics = {"chrf": 58.0, "chrf_low": 56.0, "chrf_high": 60.0, "bleu": 30.0, "copy": {"chrf": 0.2}, "signatures": {}}
    (report / "metrics.json").write_text(json.dumps(metrics))
    record(model, report)
    record(model, report)
    assert store.client().get_run(run["run_id"]).data.metrics == {
        "eval/chrf": 58.0, "eval/chrf_low": 56.0, "eval/chrf_high": 60.0, "eval/bleu": 30.0, "copy/chrf": 0.2,
    }  # fmt: skip
    assert count(run["run_id"]) == 5


def test_a_training_without_a_run_is_passed_over(project):
    model = made.finished(project / "models" / "T20")
    record(model, made.evaluation(project / "reports" / "T20", 20, {5: 0.7}))
    assert runs.of_model(model) is None


def test_the_comparison_goes_to_the_parent_once(project):
    parent = runs.open_run(made.header())["parent_run_id"]
    made.finished(project / "models" / "diffusion" / "T20")
    reports = made.comparison(project / "reports", frechet=0.6)
    (reports / "figures").mkdir()
    (reports / "figures" / "sweep.png").write_bytes(b"a picture")
    for _ in range(2):
        record_comparison(project / "models", reports)
    run = store.client().get_run(parent)
    assert run.data.metrics["recommended/sampling_steps"] == 2
    assert run.data.metrics["recommended/frechet"] == 0.6
    assert run.data.metrics["recommended/frechet_over_floor"] == pytest.approx(1.2)
    assert count(parent) == len(run.data.metrics)
    table = store.client().load_table(run.info.experiment_id, "comparison/sweep.json", run_ids=[parent])
    assert list(table["sampling_steps"]) == [2, 5]
    figures = store.client().list_artifacts(parent, "comparison/figures")
    assert [file.path for file in figures] == ["comparison/figures/sweep.png"]


def test_a_comparison_that_recommends_nothing(project):
    reports = made.comparison(project / "reports")
    content = json.loads((reports / "comparison.json").read_text()) | {"recommended": None}
    (reports / "comparison.json").write_text(json.dumps(content))
    record_comparison(project / "models", reports)

import json
from pathlib import Path

import numpy as np
import pytest

from stepladder import history
from stepladder.errors import UserError
from stepladder.params import Promotion, build
from stepladder.reporting import figures, report
from tests.reporting import job, synthetic

SMALL = build({"sweep": {"timesteps": [10, 50], "sampling_steps": [1, 10]}})


def test_the_comparison_holds_every_point(compared: Path) -> None:
    written = json.loads((compared / "reports" / "comparison.json").read_text())
    assert len(written["sweep"]) == 5 + 7 + 8 + 8
    assert written["missing"] == []
    assert written["floor"]["frechet"] == synthetic.FLOOR
    assert [row["timesteps"] for row in written["training"]] == [10, 50, 200, 1000]
    assert written["training"][0]["loss"] == pytest.approx(1.1 * 0.14)
    assert written["translation"]["chrf"] == 59.3
    assert all(p["frechet_over_floor"] == pytest.approx(p["frechet"] / synthetic.FLOOR) for p in written["sweep"])


def test_what_it_cost_and_by_which_runs_is_history(compared: Path) -> None:
    """Beside the comparison, which DVC hashes, and brought to it where the history is."""
    models, reports = compared / "models", compared / "reports"
    text = (reports / "comparison.json").read_text() + (reports / "sweep.json").read_text()
    assert not [name for name in (*history.TIMES, "run_id", "git_commit") if f'"{name}"' in text]
    told = history.compared(json.loads((reports / "comparison.json").read_text()), models, reports)
    assert [row["run_id"] for row in told["training"]] == [f"{t:032x}" for t in (10, 50, 200, 1000)]
    assert told["training"][0]["seconds"] == pytest.approx(38.2 + 0.14)
    assert all(p["milliseconds_per_image"] == 0.4 + 0.55 * p["sampling_steps"] for p in told["sweep"])
    assert told["recommended"]["milliseconds_per_image"] > 0


def test_the_long_tables_have_a_column_for_the_colour(compared: Path) -> None:
    rows = json.loads((compared / "reports" / "sweep.json").read_text())
    assert list(dict.fromkeys(row["timesteps"] for row in rows)) == ["T=10", "T=50", "T=200", "T=1000"]
    assert {"sampling_steps", "frechet", "frechet_low", "accuracy", "kid"} <= set(rows[0])
    losses = json.loads((compared / "reports" / "losses.json").read_text())
    assert {row["model"] for row in losses} == {"T=10", "T=50", "T=200", "T=1000", "transformer"}
    chrf = json.loads((compared / "reports" / "chrf.json").read_text())
    assert sum(row["sentences"] for row in chrf) == 3 * len(synthetic.TRANSLATIONS)
    assert chrf[-1] == {"chrf": "90-100", "sentences": 12}


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    models, reports = synthetic.project(tmp_path, SMALL)
    written = []
    for _ in range(2):
        job.compare(SMALL, models, reports)
        written.append({f.relative_to(reports): f.read_bytes() for f in reports.rglob("*") if f.is_file()})
    assert written[0] == written[1]
    names = {f.name for f in (reports / "figures").glob("*.png")}
    assert names == {
        f"{n}.png"
        for n in (
            *("quality", "accuracy", "kid", "support", "times", "loss", "positions"),
            *("attention-encoder", "attention-cross", "attention-entropy"),
        )
    }
    assert {f.name for f in (reports / "figures" / "dark").glob("*.png")} == names


def test_a_t_that_did_not_finish_is_named_and_the_rest_compared(tmp_path: Path) -> None:
    models, reports = synthetic.project(tmp_path, SMALL, unfinished=(50,))
    found = job.compare(SMALL, models, reports)
    assert found["missing"] == [50]
    assert {p["timesteps"] for p in found["sweep"]} == {10}
    assert found["recommended"]["timesteps"] == 10


def test_reports_of_a_t_that_is_no_longer_in_the_sweep_are_left_out(tmp_path: Path) -> None:
    models, reports = synthetic.project(tmp_path, SMALL)
    found = job.compare(build({"sweep": {"timesteps": [10], "sampling_steps": [1]}}), models, reports)
    assert {p["timesteps"] for p in found["sweep"]} == {10}


def test_only_a_translation(tmp_path: Path) -> None:
    models, reports = synthetic.project(tmp_path, SMALL, unfinished=(10, 50))
    (reports / "figures").mkdir()
    (reports / "figures" / "quality.png").write_bytes(b"of an earlier sweep")
    found = job.compare(SMALL, models, reports)
    assert found["recommended"] is None
    assert found["translation"]["sentences"] == 1500
    assert not (reports / "figures" / "quality.png").exists()


def test_nothing_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no evaluation of T=10, 50 nor of a language model"):
        job.compare(SMALL, tmp_path / "models", tmp_path / "reports")


def test_points_judged_by_different_networks_are_refused(tmp_path: Path) -> None:
    models, reports = synthetic.project(tmp_path, SMALL)
    file = reports / "diffusion" / "T50" / "metrics.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"floor": {"frechet": 0.9}}))
    with pytest.raises(UserError, match=r"0\.31 at T=10, 0\.9 at T=50"):
        job.compare(SMALL, models, reports)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    models, reports = synthetic.project(tmp_path, SMALL)
    (reports / "diffusion" / "T10" / "metrics.json").write_text('{"points": [')
    with pytest.raises(UserError, match=r"T10/metrics\.json is not JSON"):
        job.compare(SMALL, models, reports)


def test_data_without_classes_and_without_kid(tmp_path: Path) -> None:
    models, reports = synthetic.project(tmp_path, SMALL)
    for file in reports.glob("diffusion/*/metrics.json"):
        metrics = json.loads(file.read_text())
        for point in metrics["points"]:
            for name in ("accuracy", "accuracy_low", "accuracy_high", "kid", "kid_low", "kid_high"):
                point[name] = None
        file.write_text(json.dumps(metrics))
    job.compare(SMALL, models, reports)
    assert not (reports / "figures" / "accuracy.png").exists()
    assert "accuracy" not in json.loads((reports / "sweep.json").read_text())[0]


def test_a_model_that_gave_no_numbers_is_shown_as_such(tmp_path: Path) -> None:
    models, reports = synthetic.project(tmp_path, SMALL)
    for t in (50, 10):
        file = reports / "diffusion" / f"T{t}" / "metrics.json"
        metrics = json.loads(file.read_text())
        for point in metrics["points"]:
            for name in ("frechet", "frechet_low", "frechet_high", "kid", "kid_low", "kid_high"):
                point[name] = float("nan")
        file.write_text(json.dumps(metrics))
        recommended = job.compare(SMALL, models, reports)["recommended"]
        assert (recommended is None) == (t == 10)
        assert "–" in report.write(reports, models, SMALL).read_text()
    assert not (reports / "figures" / "quality.png").exists()


def test_a_floor_line_and_the_ring_are_where_the_numbers_say() -> None:
    from stepladder.reporting.palette import styles

    points = [synthetic.point(10, 1, 2.0), synthetic.point(10, 10, 1.0)]
    axes = figures.quality(points, styles([10]), 0.5, points[1]).axes[0]
    lines = [(np.asarray(line.get_xdata())[-1], np.asarray(line.get_ydata())[-1]) for line in axes.lines]
    assert (10.0, 1.0) in lines
    assert any(y == 0.5 for _, y in lines)


def test_where_all_failed_the_figures_and_the_page_warn(tmp_path):
    models, reports = synthetic.project(tmp_path, SMALL)
    strict = SMALL.model_copy(update={"promotion": Promotion(accuracy=0.999)})
    assert job.compare(SMALL, models, reports)["failed"] == {}
    found = job.compare(strict, models, reports)
    assert found["failed"]["recommended"].startswith("collapsed: accuracy")
    assert json.loads((reports / "metrics.json").read_text())["failed"] == found["failed"]
    page = report.write(reports, models, strict).read_text()
    assert "No point of this sweep passes" in page
    assert "the least bad, none passes" in page


def test_figures_of_another_training_are_refused_or_left_out(tmp_path):
    models, reports = synthetic.project(tmp_path, SMALL)
    file = reports / "diffusion" / "T50" / "metrics.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"judged": {"model": "then"}}))
    run = models / "diffusion" / "T50" / history.TRAINING
    run.write_text(json.dumps(json.loads(run.read_text()) | {"key": "then"}))
    job.compare(SMALL, models, reports)
    run.write_text(json.dumps(json.loads(run.read_text()) | {"key": "now"}))
    again = r"another training \(key then\) than .*T50 \(key now\); run `stepladder evaluate diffusion --timesteps 50`"
    with pytest.raises(UserError, match=again):
        job.compare(SMALL, models, reports)
    with pytest.raises(UserError, match=again):
        report.write(reports, models, SMALL)
    assert job.compare(SMALL, models, reports, leave_out=True)["missing"] == [50]

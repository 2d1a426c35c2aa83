"""Studies of language models: cells with figures chosen by the test, and what is refused."""

import json
from pathlib import Path

import pytest

from stepladder import history
from stepladder.errors import UserError
from stepladder.studies import page, spec, stages, text_cell
from tests.studies import made

ARMS = {"a": {"family": "transformer"}, "b": {"family": "transformer", "set": {"transformer.dropout": 0.3}}}
CONTRAST = {"claim": "b is better.", "this": {"arm": "b"}, "against": {"arm": "a"}}


def study(here: Path, **changes: object) -> None:
    made.study(here, measures=["chrf", "gap"], samplings=[], arms=ARMS, contrasts=[CONTRAST], **changes)


def cell(here: Path, arm: str, seed: int, chrf: float) -> None:
    place = here / "studies" / "made" / "cells" / f"{arm}-{seed}"
    place.mkdir(parents=True)
    point = {"sampling": None, "steps": 0, "strip": "", "chrf": chrf, "chrf_low": chrf - 1, "chrf_high": chrf + 1}
    metrics = {
        "study": "made", "arm": arm, "seed": seed, "family": "transformer", "timesteps": None, "points": [point | {"gap": -0.1}],
        "bits_per_dim": None, "training": {"seconds": 3.0, "parameters": 100}, "floor": {}, "held_out": 9, "run": {},
        "timing": {"at_once": 1, "threads": 1, "device": "CPU"},
        "protocol": {"confidence": 0.95, "bootstrap": 10, "training": 70, "held_out": 9},
    }  # fmt: skip
    (place / "metrics.json").write_text(json.dumps(metrics))


def test_the_page_says_what_came_out_and_nothing_of_pictures(here):
    study(here)
    for seed in (0, 1, 2):
        cell(here, "a", seed, 50.0 + seed)
        cell(here, "b", seed, 60.0 + seed)
    text = page.write("made", here / "reports").read_text()
    found = json.loads((here / "reports" / "studies" / "made" / "results.json").read_text())
    assert found["verdict"][0].startswith("b has the best mean chrF over 3 seeds: 61")
    assert found["claims"][0]["outcome"] == "shown"
    assert found["rows"][0]["figures"]["gap"]["low"] == pytest.approx(-0.1)
    assert "held-out ones" in text
    for word in ("pictures", "one pass", "S=", "real against real"):
        assert word not in text.split("<main", 1)[1].lower().replace("network evaluations a picture", "").replace(
            "milliseconds a picture", ""
        ), word


def test_its_stages_read_the_text(here):
    study(here)
    text = stages.rendered("made", spec.read("made"))
    assert "data/text" in text
    assert "data/images" not in text
    assert "decoding" in text
    assert "src/stepladder/studies/text_cell.py" in text


def test_pictures_and_text_are_not_mixed(here):
    made.study(here, arms={"a": {"family": "transformer"}, "b": {"family": "vae"}})
    with pytest.raises(UserError, match="a study is of pictures or of text"):
        spec.read("made")


def test_figures_of_the_training_come_from_its_curve(tmp_path):
    lines = [{"step": 1, "metrics": {"gradient_norm/encoder.0": 0.5, "gradient_norm/decoder.0": 2.0}}]
    lines += [{"step": 10 * i, "metrics": {"train/loss": 2.0 if i < 5 else 1.0}} for i in range(1, 15)]
    (tmp_path / history.CURVE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = text_cell.training_metrics(tmp_path, {"validation/loss": 1.5})
    assert found == {"loss": 1.5, "gap": pytest.approx(0.5), "gradient_ratio": pytest.approx(4.0)}


@pytest.mark.parametrize("name", spec.names())
def test_every_study_of_the_project_can_be_trained_as_it_says(name):
    spec.read(name)

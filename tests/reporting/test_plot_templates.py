import json
from pathlib import Path
from typing import Any

import pytest

from stepladder.reporting.palette import OKABE_ITO

dvc_render = pytest.importorskip("dvc_render.vega")
FOLDER = Path(__file__).parents[2] / ".dvc" / "plots"


def filled(name: str, rows: list[dict[str, Any]], x: str, y: str) -> dict[str, Any]:
    properties = {"template": name, "x": x, "y": y, "x_label": "X", "y_label": "Y"}
    renderer = dvc_render.VegaRenderer(rows, "plot", template_dir=str(FOLDER), **properties)
    return renderer.get_filled_template()


@pytest.mark.parametrize("name", ["by_timesteps", "by_timesteps_log"])
def test_a_line_each_t_and_a_dash_each_revision(name: str) -> None:
    rows = [
        {"timesteps": f"T={t}", "sampling_steps": s, "kid": 1.0, "kid_low": 0.5, "kid_high": 2.0, "rev": rev}
        for rev in ("workspace", "HEAD") for t in (10, 200) for s in (1, 10)
    ]  # fmt: skip
    spec = filled(name, rows, "sampling_steps", "kid")
    assert "<DVC_METRIC" not in json.dumps(spec)
    assert spec["data"]["values"] == rows
    encoding = spec["encoding"]
    assert encoding["x"]["field"] == "sampling_steps"
    assert encoding["x"]["scale"]["type"] == "log"
    assert encoding["color"]["field"] == "timesteps"
    assert encoding["color"]["scale"]["range"] == list(OKABE_ITO)
    assert encoding["strokeDash"]["field"] == "rev"
    interval, line = spec["layer"]
    assert interval["encoding"]["y"]["field"] == "kid_low"
    assert interval["encoding"]["y2"]["field"] == "kid_high"
    assert line["encoding"]["y"]["field"] == "kid"


def test_losses_are_coloured_by_model() -> None:
    rows = [{"model": "T=10", "step": 1, "loss": 1.0, "split": "train", "rev": "workspace"}]
    spec = filled("by_model", rows, "step", "loss")
    assert "<DVC_METRIC" not in json.dumps(spec)
    assert spec["encoding"]["color"]["field"] == "model"
    assert spec["layer"][0]["encoding"]["opacity"]["field"] == "split"

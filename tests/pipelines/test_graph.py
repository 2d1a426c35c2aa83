from pathlib import Path

import pytest

from pipelines import graph
from stepladder.errors import UserError

WHOLE: graph.Graph = {"a": (), "b": ("a",), "c": (), "d": ("b", "c"), "e": ("b",)}


def test_graph_is_dvcs_own(scratch: Path):
    stages = graph.read(scratch)
    assert stages["evaluate-diffusion@20"] == ("feature-net", "train-diffusion@20")
    assert stages["compare"] == ("evaluate-diffusion@10", "evaluate-diffusion@20", "train-transformer")
    order = list(stages)
    assert all(order.index(need) < order.index(stage) for stage, needs in stages.items() for need in needs)


def test_graph_that_dvc_refuses_is_a_sentence(scratch: Path):
    (scratch / "dvc.yaml").write_text("stages: {a: {outs: [x]}}\n")
    with pytest.raises(UserError, match=r"DVC cannot read the stages .*dvc.yaml"):
        graph.read(scratch)


def test_upstream_is_all_that_is_needed():
    part = graph.upstream(WHOLE, ["e"])
    assert list(part) == ["a", "b", "e"]
    assert graph.family("train-diffusion@10") == "train-diffusion"

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from stepladder.evaluation.text import evaluate
from stepladder.params import Params
from stepladder.reporting.report import write
from tests.reporting.job import compare
from tests.transformer import running


class Text(HTMLParser):
    """What a page says."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def reported(folder: Path, params: Params) -> tuple[dict, str]:
    """The comparison and the page of a project that has a language model only."""
    (folder / "models").mkdir()
    (folder / "model").rename(folder / "models" / "transformer")
    evaluate(params, folder / "text", folder / "models" / "transformer", folder / "reports" / "transformer")
    (folder / "data").mkdir()
    (folder / "text").rename(folder / "data" / "text")
    comparison = compare(params, folder / "models", folder / "reports")
    page = write(folder / "reports", folder / "models", params).read_text(encoding="utf-8")
    return comparison, " ".join(Text(page).parts)


def test_a_model_of_running_text_is_compared_and_reported(tmp_path: Path) -> None:
    comparison, said = reported(tmp_path, running.lines(tmp_path))
    assert comparison["translation"] == {}
    figures = json.loads((tmp_path / "reports" / "metrics.json").read_text())["language_model"]
    assert figures["bits_per_character"] == comparison["language_model"]["bits_per_character"]
    for part in ("Language model", "bits a character", "as the model goes on", "windows of 16 tokens", "What it reads"):
        assert part in said
    assert f"{figures['bits_per_character']:.3f}" in said
    drawn = {f.stem for f in (tmp_path / "reports" / "figures").glob("*.png")}
    assert {"attention-decoder", "attention-entropy", "positions"} <= drawn


def test_a_classifier_is_compared_and_reported(tmp_path: Path) -> None:
    comparison, said = reported(tmp_path, running.labels(tmp_path))
    figures = json.loads((tmp_path / "reports" / "metrics.json").read_text())["language_model"]
    assert figures["accuracy"] == comparison["language_model"]["accuracy"]
    for part in ("Classification", "macro-F1", "Which is taken for which", "colour", "tree"):
        assert part in said
    wrong = np.sum(comparison["language_model"]["confusion"]) - np.trace(comparison["language_model"]["confusion"])
    assert ("The surest mistakes" in said) == bool(wrong)


def test_without_any_evaluation_it_says_so(tmp_path: Path) -> None:
    from stepladder.errors import UserError

    with pytest.raises(UserError, match="nor of a language model"):
        compare(Params(), tmp_path / "models", tmp_path / "reports")

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from stepladder.errors import UserError
from stepladder.params import build
from stepladder.reporting import report
from stepladder.studies import page
from tests.studies import made


class Checked(HTMLParser):
    """Every element closed in order; what is linked and loaded."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in ("img", "source", "br", "meta"):
            self.open.append(tag)
        self.loaded += [v for k, v in attrs if k in ("src", "srcset") and v]
        if tag == "a":
            self.links.append(given["href"] or "")
        if given.get("id"):
            self.ids.append(given["id"] or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def written(here: Path) -> Path:
    contrast = {"claim": "Large <is> better.", "this": {"arm": "large"}, "against": {"arm": "small"}}
    made.study(here, contrasts=[contrast], plane=["coverage", "accuracy"])
    made.whole(here)
    return page.write("made", Path("reports"))


def test_page_is_whole_and_loads_nothing(written: Path):
    checked = Checked(written.read_text(encoding="utf-8"))
    assert not checked.open
    assert checked.loaded
    assert all(address.startswith("data:image/png;base64,") for address in checked.loaded)
    assert all(link[1:] in checked.ids for link in checked.links)
    assert len(set(checked.ids)) == len(checked.ids)


def test_page_says_what_was_asked_and_found(written: Path):
    text = written.read_text(encoding="utf-8")
    assert "Is &lt;b&gt;bold&lt;/b&gt; better than plain &amp; simple?" in text
    assert "large, DDIM, S=10 has the best mean" in text
    assert "Large &lt;is&gt; better." in text
    for told in (
        "0.300",
        "0.275 to 0.325",
        "1 of 3",
        "2 cells at once",
        "stepladder study run made --jobs 2",
        "real against real",
    ):
        assert told in text, told
    for strip in range(3):
        assert f"large, DDIM, S=10, seed {strip}" in text
    assert {f.name for f in (written.parent / "figures").glob("*.png")} == {
        "steps.png",
        "seeds.png",
        "time.png",
        "plane.png",
    }


def test_results_are_json_beside_it(written: Path):
    found = json.loads((written.parent / "results.json").read_text(encoding="utf-8"))
    assert found["claims"][0]["outcome"] == "shown"
    assert [row["arm"] for row in found["rows"]] == ["small", "small", "large", "large", "gan"]
    assert found["rows"][0]["figures"]["frechet"]["each"] == {"0": 0.6, "1": 0.61, "2": 0.59}
    assert found["missing"] == []


def test_same_cells_give_the_same_bytes(written: Path):
    before = written.read_bytes()
    assert page.write("made", Path("reports")).read_bytes() == before


def test_what_is_missing_is_said_and_the_rest_shown(here: Path):
    made.study(here)
    made.cell(here, "small", 0, {5: 0.6, 10: None})
    text = page.write("made", Path("reports")).read_text(encoding="utf-8")
    assert "Not finished: small-1, small-2, large-0" in text
    assert "small, DDIM, S=5 has the best mean" in text


def test_a_study_without_cells_or_without_numbers(here: Path):
    made.study(here)
    with pytest.raises(UserError, match="no finished cell; run it with `stepladder study run made`"):
        page.write("made", Path("reports"))
    for arm in ("small", "large"):
        made.cell(here, arm, 0, {5: None, 10: None})
    assert "No arm has a figure that is a number." in page.write("made", Path("reports")).read_text(encoding="utf-8")


def test_the_main_report_links_to_it(written: Path):
    reports = Path("reports")
    empty = {"sweep": [], "missing": [10], "floor": {}, "recommended": None, "confidence": 0.95, "training": [],
             "feature_net": {}, "translation": {}, "translation_training": None}  # fmt: skip
    (reports / "comparison.json").write_text(json.dumps(empty))
    text = report.write(reports, Path("models"), build({})).read_text(encoding="utf-8")
    assert "studies/made/index.html" in Checked(text).links
    assert "large, DDIM, S=10 has the best mean" in text


def test_a_training_that_failed_is_told_with_its_reason(here: Path):
    made.study(here)
    made.whole(here)
    made.fail(here, "large", 1, "it ended at step 27 of 60, where the loss is not a finite number")
    (here / "studies" / "made" / "cells" / "gan-2" / "metrics.json").unlink()
    text = page.write("made", Path("reports")).read_text(encoding="utf-8")
    assert "Failed: large-1: it ended at step 27 of 60, where the loss is not a finite number" in text
    assert "Not finished: gan-2." in text
    assert "Seeds that failed: large 1 of 3" in text
    found = json.loads(Path("reports/studies/made/results.json").read_text())
    assert list(found["failed"]) == ["large-1"]

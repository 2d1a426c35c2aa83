import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from stepladder import history
from stepladder.errors import UserError
from stepladder.metrics.numbers import decimals, duration, fixed, percent
from stepladder.params import flatten
from stepladder.reporting import report
from stepladder.reporting.markup import VOID, Markup, element, join
from stepladder.reporting.sweep_sections import variety_warning
from stepladder.reporting.translation_sections import choose
from tests.reporting import job, synthetic


class Page(HTMLParser):
    """Collects elements and text; a closing tag that does not match is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in (*VOID, "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["script"], ["style"]):
            self.text.append(data)

    def said(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture
def project(compared: Path, tmp_path: Path) -> Path:
    return shutil.copytree(compared, tmp_path / "project")


def page_of(project: Path) -> Page:
    return Page(report.write(project / "reports", project / "models", synthetic.PARAMS).read_text())


def test_the_page_loads_nothing_and_links_only_to_runs(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    page = page_of(project)
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    for tag, attributes in page.elements:
        for name in ("src", "srcset", "poster", "data", "action", "background"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, attributes)
        assert tag not in ("link", "iframe", "object", "base", "form")
        assert not any(name.startswith("on") for name in attributes)
        if address := attributes.get("href"):
            assert address.startswith(("#", "http://127.0.0.1:5000")), address
            assert not address.startswith("#") or address[1:] in ids
    links = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
    assert f"http://127.0.0.1:5000/#/experiments/1/runs/{200:032x}" in links
    assert "http://127.0.0.1:5000/#/models/diffusion-digits/versions/3" in links
    assert "url(" not in "".join(
        re.findall(r"<style>.*?</style>", (project / "reports" / "index.html").read_text(), re.S)
    )


def test_text_from_outside_is_escaped(project: Path) -> None:
    file = project / "reports" / "registered.json"
    evil = "</script><script>alert(3)</script>"
    content = history.read(file)
    content["models"][0] |= {"name": evil, "why": evil, "run_id": '"><script>', "aliases": [evil]}
    history.write(file, content, history.REGISTRATION)
    tokens = project / "reports" / "transformer" / "attention.json"
    drawn = json.loads(tokens.read_text())
    drawn["maps"]["cross"]["columns"] = [evil] * 9
    tokens.write_text(json.dumps(drawn))
    card = project / "data" / "images" / "card.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"source": evil, "name": evil}))
    page = page_of(project)
    scripts = [attributes for tag, attributes in page.elements if tag == "script"]
    assert len(scripts) == 2
    assert not any(tag == "img" and attributes.get("src") == "x" for tag, attributes in page.elements)
    assert '<img src=x onerror=alert(2)> & "q"' in page.said()
    assert evil in page.said()


def test_only_the_page_s_own_script_may_run(project: Path) -> None:
    text = report.write(project / "reports", project / "models", synthetic.PARAMS).read_text()
    script = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(script) == 1
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in text


def test_what_it_says(project: Path) -> None:
    said = page_of(project).said()
    recommended = json.loads((project / "reports" / "comparison.json").read_text())["recommended"]
    for part in (
        recommended["why"], "34f6245d0c with changes not committed", "1,437 train, 360 test", "2 bad rows set aside",
        "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0", "@champion", "real against real", "make ui",
        f"All {len(flatten(synthetic.PARAMS))} parameters, 1 of them changed", "Північні Маріанські острови", "(T has 10 steps)",
        "Protocol: 720 pictures a point", "rounded to uint8", "34 test rows of the source come from JPEG copies", "bits/dim", "memorised",
    ):  # fmt: skip
        assert part in said, part


def test_a_recommended_point_that_lacks_variety_is_said_to() -> None:
    point = synthetic.point(10, 5, 0.5, recall=0.7, recall_low=0.6, recall_high=0.8)
    assert "recall 0.70 [0.60, 0.80] where real pictures have 0.90" in str(variety_warning(point, {"recall": 0.9}))
    assert variety_warning(point, {"recall": 0.75}) is None
    assert variety_warning(point, {}) is None
    assert variety_warning({"frechet": 1.0}, {"recall": 0.9}) is None


def test_the_grid_has_a_strip_for_each_t_and_s(project: Path) -> None:
    strips = [
        a["alt"] for tag, a in page_of(project).elements if tag == "img" and (a.get("alt") or "").startswith("T=")
    ]
    assert len(strips) == 28
    assert len(set(strips)) == 28


@pytest.mark.parametrize("uri", ["https://user:secret@mlflow.example.org/base/", "https://mlflow.example.org/base"])
def test_links_lead_to_the_server_of_the_environment_without_its_password(
    project: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    text = report.write(project / "reports", project / "models", synthetic.PARAMS).read_text()
    assert "https://mlflow.example.org/base/#/experiments/1/runs/" in text
    assert "secret" not in text
    assert "make ui" not in text


def test_missing_pieces_are_said_in_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))

    models, reports = synthetic.project(tmp_path, unfinished=(200,))
    shutil.rmtree(reports / "transformer")
    shutil.rmtree(tmp_path / "data")
    (reports / "registered.json").unlink()
    for model in history.models(models):
        file = history.folder_of(str(history.key(model))) / history.RUN
        file.write_text(json.dumps(json.loads(file.read_text()) | {"run_id": None}))
    job.compare(synthetic.PARAMS, models, reports)
    said = page_of(tmp_path).said()
    for part in (
        "T=200: not finished", "No translation has been evaluated", "No model is registered", "not tracked",
        "digits (its card is not there)",
    ):  # fmt: skip
        assert part in said, part


def test_a_sweep_of_which_nothing_finished(tmp_path: Path) -> None:
    models, reports = synthetic.project(tmp_path, unfinished=(10, 50, 200, 1000))
    job.compare(synthetic.PARAMS, models, reports)
    said = page_of(tmp_path).said()
    assert "T=10: not finished; T=50: not finished" in said
    assert "59.3" in said


def test_without_a_comparison_there_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run `stepladder compare` first"):
        report.write(tmp_path, tmp_path, synthetic.PARAMS)


def test_chosen_sentences_are_distinct_and_ordered() -> None:
    rows = [{"source": f"s{i}", "translation": "t", "reference": "r", "chrf": float(i)} for i in range(40)] * 2
    good, middling, bad = choose(rows)
    assert [r["chrf"] for r in good] == [39, 38, 37, 36, 35, 34]
    assert [r["chrf"] for r in bad] == [0, 1, 2, 3, 4, 5]
    assert [r["chrf"] for r in middling] == [22, 21, 20, 19, 18, 17]
    assert [len(part) for part in choose(rows[:2])] == [1, 0, 1]
    assert [len(part) for part in choose(rows[:1])] == [1, 0, 0]


def test_elements_escape_by_default() -> None:
    assert (
        element("p", "<b>", Markup("<i>"), class_='"x"', hidden=True, title=None)
        == '<p class="&quot;x&quot;" hidden>&lt;b&gt;<i></p>'
    )
    assert join(["a", [None, "&"]]) == "a&amp;"
    assert element("img", src="x") == '<img src="x">'


def test_numbers_stand_under_each_other() -> None:
    assert decimals([0.312, 45.1]) == 3
    assert decimals([310.0]) == 0
    assert decimals([]) == 3
    assert fixed(-1234.5, 1) == "−1,234.5"
    assert fixed(None, 1) == fixed(float("nan"), 1) == "–"
    assert percent(0.9744) == "97.4%"
    assert [duration(s) for s in (3.21, 38.2, 250, 7500)] == ["3.2 s", "38 s", "4 min 10 s", "2 h 5 min"]

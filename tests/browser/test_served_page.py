"""``stepladder serve`` in a browser: draw at several S side by side, translate, and read what is wrong."""

import os
import re
import sys
from collections.abc import Iterator

import pytest

from tests import server
from tests.tracking import made

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("served")
    made.diffusion(root / "models" / "diffusion" / "T20")
    made.translation(root / "models" / "transformer")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "STEPLADDER_"))}
    at = r"http://127\.0\.0\.1:\d+"
    process, said = server.start(
        [sys.executable, "-m", "stepladder", "serve", "--port", "0"], root / "serve.log", at,
        cwd=root, env=environment | {"STEPLADDER_TRACKING": "journal", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        assert said.startswith("models/diffusion/T20, models/transformer\n")
        yield re.findall(at, said)[0]
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.fixture
def page(browser, address):
    page = browser.new_page(viewport={"width": 1200, "height": 1500})
    page.set_default_timeout(60_000)
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on(
        "request",
        lambda request: (
            failures.append(request.url) if address not in request.url and not request.url.startswith("data:") else None
        ),
    )
    page.goto(address)
    page.get_by_role("heading", name="Draw").wait_for()
    yield page
    page.close()
    assert failures == [], "errors, and requests to elsewhere"


def press(page, name: str) -> None:
    from playwright.sync_api import expect

    button = page.get_by_role("button", name=name)
    button.click()
    expect(button).to_be_enabled(timeout=60_000)


def test_pictures_at_different_steps_side_by_side(page):
    press(page, "Draw")
    heads = page.locator("#pictures thead th").all_inner_texts()
    assert heads == ["", "S = 1", "S = 2", "S = 5", "S = 10", "S = 20"]
    assert page.locator("#pictures tbody th").all_inner_texts() == ["zero", "one", "two"]
    pictures = page.locator("#pictures img")
    sources = [pictures.nth(i).get_attribute("src") for i in range(pictures.count())]
    assert len(sources) == 15
    assert len(set(sources[:5])) == 5, "each number of steps gives another picture"
    assert pictures.nth(3).get_attribute("alt") == "zero in 10 steps"
    assert pictures.first.evaluate("image => image.naturalWidth") == 8
    press(page, "Draw")
    assert [pictures.nth(i).get_attribute("src") for i in range(15)] == sources
    page.get_by_label("seed").fill("5")
    press(page, "Draw")
    assert pictures.first.get_attribute("src") != sources[0]


def test_a_choice_of_classes_and_steps(page):
    for name in ("zero", "one"):
        page.locator("#classes span", has_text=name).click()
    for steps in ("1", "2", "5", "10", "20"):
        page.locator("#steps span").get_by_text(steps, exact=True).click()
    press(page, "Draw")
    assert page.locator("#draw-error").inner_text() == "Choose at least one number of sampling steps."
    page.get_by_label("further S").fill("7")
    press(page, "Draw")
    assert page.locator("#draw-error").inner_text() == ""
    assert page.locator("#pictures thead th").all_inner_texts() == ["", "S = 7"]
    assert page.locator("#pictures img").count() == 1


def test_what_the_model_refuses_is_read_on_the_page(page):
    page.get_by_label("guidance scale").evaluate("field => { field.removeAttribute('max'); field.value = 101; }")
    press(page, "Draw")
    assert (
        "guidance_scale: input should be less than or equal to 100 (given: 101)"
        in page.locator("#draw-error").inner_text()
    )


def test_sentences_are_translated_as_text(page):
    page.get_by_label("one sentence a line, in en").fill("ab ba\n\n<b>cab</b>\n")
    press(page, "Translate")
    cells = page.locator("#translations tr td:first-child").all_inner_texts()
    assert cells == ["ab ba", "<b>cab</b>"]
    assert page.locator("#translations b").count() == 0
    assert re.fullmatch(r"2 in [\d.]+ ms", page.locator("#translate-note").inner_text())

"""What a colleague does who never opens a shell: fill in the form, watch the run, look at the pictures, stop a run."""

import time

import httpx
import psutil
import pytest
import yaml

from stepladder.params import load
from tests.pipelines.project import dvc, events, git, starts

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport={"width": 1400, "height": 1800})
    page.set_default_timeout(90_000)
    yield page
    page.close()


def test_form_filled_in_with_other_timesteps_runs_to_the_end(served, page):
    start(page, served, timesteps=[3, 5], sampling_steps=[1, 2])
    wait_for(lambda: latest_state(served) == "COMPLETED", seconds=300)
    page.reload()
    page.get_by_text("Completed", exact=True).first.wait_for()
    page.get_by_text("Artifacts", exact=True).click()
    page.get_by_text("sweep-quality").wait_for()

    log = served.folder.parent / "log.jsonl"
    assert {"train-diffusion:3", "train-diffusion:5"} <= set(starts(log))
    assert len(dvc(served.folder, "exp", "list", "--name-only").split()) == 1
    (run,) = httpx.post(f"{served.prefect}/api/flow_runs/filter", json={"limit": 1}).json()
    assert run["state"]["type"] == "COMPLETED"
    assert run["parameters"]["timesteps"] == [3, 5]


def test_a_preset_and_one_typed_field_are_shown_run_and_recorded_alike(served, page):
    """Typed is a value that the workspace has too, and the preset has not."""
    page.goto(form(served, "sweep"))
    steps = page.locator(".p-label", has=page.get_by_text("Steps (Optional)", exact=True)).last
    steps.wait_for()
    boxes = page.locator("input[type=number]").all()
    assert len(boxes) > 20
    assert {box.input_value() for box in boxes} == {""}, "no field shows a value that a preset may change"

    own = load(served.folder / "params.yaml").diffusion.training.steps
    steps.locator("input").fill(str(own))
    page.locator(".p-label", has=page.get_by_text("preset (Optional)", exact=True)).locator(
        ".p-select-button__icon"
    ).click()
    page.get_by_text("quick", exact=True).click()
    click_submit(page, served)
    wait_for(lambda: latest_state(served) == "COMPLETED", seconds=300)
    run = latest(served)
    quick = load(served.folder / "presets/quick.yaml")
    assert run["parameters"]["preset"] == "quick"
    assert run["parameters"]["timesteps"] == list(quick.sweep.timesteps)
    assert run["parameters"]["diffusion"]["training"]["steps"] == own
    assert run["parameters"]["diffusion"]["training"]["warmup_steps"] == quick.diffusion.training.warmup_steps
    ran = yaml.safe_load(git(served.folder, "show", f"{experiment(served, run['name'])}:params.yaml"))
    assert ran["diffusion"]["training"]["steps"] == own
    assert ran["sweep"]["timesteps"] == list(quick.sweep.timesteps)

    page.goto(f"{served.prefect}/runs/flow-run/{run['id']}")
    page.get_by_text("Parameters", exact=True).first.click()
    page.get_by_text(f'"steps": {own}').first.wait_for()


def test_form_refuses_no_timesteps_at_all_before_anything_runs(served, page):
    before = runs(served)
    fill_in(page, served, timesteps=[0, 5], sampling_steps=[1])
    page.get_by_role("button", name="Submit").click()
    page.get_by_text("less than the minimum of 1").wait_for()
    assert runs(served) == before


def test_report_made_from_the_page_opens_in_the_browser(served, page, monkeypatch):
    monkeypatch.setenv("SCRATCH_LOG", str(served.folder.parent / "log.jsonl"))
    dvc(served.folder, "repro", "--quiet")  # the report judges nothing: it is of what has been
    page.goto(form(served, "report"))
    click_submit(page, served)
    wait_for(lambda: latest_state(served) == "COMPLETED", seconds=300)
    (link,) = httpx.post(
        f"{served.prefect}/api/artifacts/filter", json={"artifacts": {"key": {"any_": ["report-report"]}}}
    ).json()
    page.goto(f"{served.prefect}/artifacts/artifact/{link['id']}")
    page.get_by_role("link", name="the report").click()
    wait_for(lambda: any(tab.get_by_text("the report of [10, 20]").count() for tab in page.context.pages), seconds=90)


def test_report_of_an_unknown_experiment_fails_with_a_sentence_on_the_page(served, page):
    page.goto(form(served, "report"))
    page.locator("textarea").first.fill("nobody")
    click_submit(page, served)
    wait_for(lambda: latest_state(served) == "FAILED")
    page.goto(f"{served.prefect}/runs/flow-run/{latest(served)['id']}")
    page.get_by_text("There is no DVC experiment 'nobody'").first.wait_for()


def test_promotion_of_no_models_address_is_refused_by_the_form(served, page):
    before = runs(served)
    page.goto(form(served, "promote"))
    page.locator("textarea").first.fill("diffusion-digits")
    page.get_by_role("button", name="Submit").click()
    page.get_by_text("does not match").first.wait_for()
    assert runs(served) == before


def test_cancelling_a_run_on_the_page_ends_the_training(served, page):
    log = served.folder.parent / "log.jsonl"
    start(page, served, timesteps=[666], sampling_steps=[1])
    training = wait_for(lambda: [e["pid"] for e in events(log) if e["stage"] == "train-diffusion:666"])[0]
    assert psutil.pid_exists(training)
    page.reload()  # the button is there once the page knows that the run is running
    page.get_by_role("button", name="Cancel").first.click()
    page.get_by_role("button", name="Confirm").click()
    wait_for(lambda: not psutil.pid_exists(training))
    wait_for(lambda: latest_state(served) == "CANCELLED")


def experiment(served, name: str) -> str:
    refs = git(served.folder, "for-each-ref", "--format=%(refname)", "refs/exps").split()
    (ref,) = [ref for ref in refs if ref.endswith(f"/{name}")]
    return ref


def form(served, flow: str) -> str:
    deployment = httpx.get(f"{served.prefect}/api/deployments/name/{flow}/this-machine").json()["id"]
    return f"{served.prefect}/deployments/deployment/{deployment}/run"


def click_submit(page, served) -> None:
    """Submit the form, and wait until there is a run of it; where there is none for long, press again, as one would."""
    before = runs(served)
    for _ in range(6):
        page.get_by_role("button", name="Submit").click()
        end = time.monotonic() + 40
        while time.monotonic() < end:
            if runs(served) > before:
                return
            time.sleep(0.2)
    raise AssertionError(f"there is no run; the page says: {page.inner_text('body')}")


def start(page, served, **parameters: list[int]) -> None:
    """Submit the form and go to the page of the run that it makes."""
    fill_in(page, served, **parameters)
    click_submit(page, served)
    page.goto(f"{served.prefect}/runs/flow-run/{latest(served)['id']}")


def fill_in(page, served, *, timesteps: list[int], sampling_steps: list[int]) -> None:
    page.goto(form(served, "sweep"))
    for field, values in (("timesteps", timesteps), ("sampling_steps", sampling_steps)):
        fill_list(page, field, values)


def fill_list(page, field: str, values: list[int]) -> None:
    """Make the list of numbers labelled ``field`` hold ``values``, by its buttons and boxes."""
    from playwright.sync_api import expect

    label = page.locator(".p-label", has=page.get_by_text(f"{field} (Optional)", exact=True))
    label.wait_for()
    items = label.locator(".schema-form-property-array-item")
    for left in range(items.count() - 1, len(values) - 1, -1):
        items.last.locator("button").first.click()
        expect(items).to_have_count(left, timeout=60_000)
    for there in range(items.count() + 1, len(values) + 1):
        label.get_by_role("button", name="Add item").click()
        expect(items).to_have_count(there, timeout=60_000)
    for i, value in enumerate(values):
        items.nth(i).locator("input").fill(str(value))
        expect(items.nth(i).locator("input")).to_have_value(str(value), timeout=60_000)


def runs(served) -> int:
    return int(httpx.post(f"{served.prefect}/api/flow_runs/count", json={}).json())


def latest(served) -> dict:
    (run,) = httpx.post(
        f"{served.prefect}/api/flow_runs/filter", json={"limit": 1, "sort": "EXPECTED_START_TIME_DESC"}
    ).json()
    return run


def latest_state(served) -> str:
    return str(latest(served)["state"]["type"])


def wait_for(what, seconds: float = 180):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.2)
    return found

"""The page's interface: what it answers, and the sentence with which it refuses."""

import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from stepladder.data.grid import to_uint8
from stepladder.serving.app import app
from stepladder.serving.models import load
from tests import own_code


@pytest.fixture(scope="module")
def client(models) -> TestClient:
    found = {name: load(str(folder)) for name, folder in models.items()}
    return TestClient(app(found, {"painter": "the best"}, ["127.0.0.1"]), base_url="http://127.0.0.1")


def drawn(client: TestClient, **asked) -> list[np.ndarray]:
    answer = client.post("/draw", json={"model": "painter", "labels": ["two", "zero"], "steps": 3} | asked)
    assert answer.status_code == 200, answer.json()
    files = [base64.b64decode(uri.removeprefix("data:image/png;base64,")) for uri in answer.json()["pictures"]]
    return [np.array(Image.open(io.BytesIO(file))) for file in files]


def test_pictures_are_those_that_the_model_draws(client, models):
    painter = load(str(models["painter"]))
    expected = to_uint8(painter.draw(["two", "zero"], ["", ""], 3, painter.sampling(sampler="ddim"), 7))
    assert np.array_equal(np.stack(drawn(client, seed=7, sampler="ddim")), expected[:, 0])
    assert not np.array_equal(drawn(client, seed=8)[0], drawn(client, seed=7)[0])
    assert np.array_equal(drawn(client, seed=7, labels=["two"])[0], drawn(client, seed=7)[0])


def test_sentences_are_translated(client):
    asked = {"model": "translator", "sentences": ["ab ba", ""], "beam_size": 1}
    answer = client.post("/translate", json=asked).json()
    assert len(answer["translations"]) == 2
    assert answer["translations"][1] == ""


def test_the_page_learns_what_there_is(client):
    found = client.get("/models").json()
    assert [model["name"] for model in found["painters"]] == ["painter"]
    (painter,) = found["painters"]
    assert (painter["classes"], painter["timesteps"], painter["said"]) == (["zero", "one", "two"], 20, "the best")
    assert found["translators"][0]["languages"] == ["uk"]
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http" not in page.text, "nothing comes from elsewhere"


@pytest.mark.parametrize(
    ("path", "wrong", "status", "sentence"),
    [
        ("/draw", {"steps": 0}, 422, "steps: input should be greater than or equal to 1 (given: 0)."),
        ("/draw", {"steps": 21}, 400, "S=21 sampling steps given for a model of T=20"),
        ("/draw", {"labels": ["ten"]}, 400, "does not know the class ten; it knows: zero, one, two."),
        ("/draw", {"labels": []}, 422, "labels: list should have at least 1 item"),
        ("/draw", {"labels": ["one"] * 65}, 422, "labels: list should have at most 64 items"),
        ("/draw", {"sampler": "magic"}, 422, "sampler: input should be 'ancestral'"),
        ("/draw", {"model": "/etc"}, 400, "There is no such model here: /etc; there are: painter."),
        ("/draw", {"model": "translator"}, 400, "There is no such model here: translator"),
        ("/draw", {"more": 1}, 422, "more: extra inputs are not permitted"),
        ("/draw", {"guidance_scale": -1}, 422, "guidance_scale: input should be greater than or equal to 0"),
        ("/translate", {"sentences": ["ab " * 100]}, 400, "Sentence 1 has"),
        ("/translate", {"sentences": ["ab"], "language": "fr"}, 400, "does not translate to fr"),
        ("/translate", {"sentences": ["ab"], "beam_size": 0}, 422, "beam_size: input should be greater"),
        ("/translate", {"sentences": ["a" * 2001]}, 422, "string should have at most 2000 characters"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(client, path, wrong, status, sentence):
    usual = {"/draw": {"model": "painter", "labels": ["one"], "steps": 2}, "/translate": {"model": "translator"}}
    answer = client.post(path, json=usual[path] | wrong)
    assert answer.status_code == status, answer.text
    assert sentence in answer.json()["error"]


def test_a_request_names_no_code_to_be_run_but_what_the_model_draws_by_anyway(models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own_code.write(tmp_path, "asked", "\nopen('ran', 'w').close()\n")
    painter = load(str(models["painter"]))
    asked = {"model": "painter", "labels": ["one"], "steps": 2, "sampler": "asked:sampler"}

    def served(usual: dict[str, str]) -> TestClient:
        found = {"painter": replace(painter, defaults={"sampling": usual})}
        return TestClient(app(found, {}, ["127.0.0.1"]), base_url="http://127.0.0.1")

    answer = served({}).post("/draw", json=asked)
    assert answer.status_code == 400
    assert (
        "sampling.sampler=asked:sampler names code to be run, which forms and requests cannot" in answer.json()["error"]
    )
    assert not Path("ran").exists()
    own = served({"sampler": "asked:sampler"})
    assert own.get("/models").json()["painters"][0]["samplers"][-1] == "asked:sampler"
    assert own.post("/draw", json=asked).status_code == 200
    assert own.post("/draw", json=asked | {"sampler": "asked:other"}).status_code == 400


def test_a_page_of_another_name_is_refused(client):
    """A page elsewhere, whose name was made to mean this machine, cannot read what is served here."""
    assert client.get("/models", headers={"Host": "elsewhere.example"}).status_code == 400

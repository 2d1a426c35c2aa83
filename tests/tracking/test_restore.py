"""What `stepladder sync` registers again, and what the registry's page says of it."""

import json

import pytest

from stepladder.params import Params, build, render
from stepladder.tracking import registry, store
from stepladder.tracking.sync import sync
from tests.tracking import made
from tests.tracking.test_registry import unpacked  # noqa: F401

OTHERS = build({"sampling": {"guidance_scale": 3.0}})


@pytest.fixture
def registered(project, unpacked):  # noqa: F811
    """A project whose models are registered."""
    made.diffusion(project / "models" / "diffusion" / "T20")
    made.translation(project / "models" / "transformer")
    registry.register(Params(), project / "models", made.comparison(project / "reports"))
    (project / "params.yaml").write_text(render(Params()))
    return project


def versions(name: str) -> list[str]:
    return sorted(str(version.version) for version in store.client().search_model_versions(f"name = '{name}'"))


def test_parameters_that_were_not_run_register_nothing(registered):
    (registered / "params.yaml").write_text(render(OTHERS))
    assert "; 0 models registered" in sync([])
    assert versions("diffusion-digits") == ["1"]


def test_what_is_lacking_is_registered_with_the_settings_it_had(registered):
    client = store.client()
    before = client.get_model_version("diffusion-digits", "1").tags
    client.delete_registered_model("diffusion-digits")
    (registered / "params.yaml").write_text(render(OTHERS))
    assert "; 1 models registered" in sync([])
    again = client.get_model_version_by_alias("diffusion-digits", "champion").tags
    assert again["stepladder.settings"] == before["stepladder.settings"]


def test_a_model_trained_since_is_left_to_register(registered):
    made.diffusion(registered / "models" / "diffusion" / "T20", key="since")
    assert "; 0 models registered" in sync([])
    assert versions("diffusion-digits") == ["1"]


def test_the_page_says_why_and_how(registered):
    client = store.client()
    assert client.get_model_version("diffusion-digits", "1").description == "champion, the first: frechet 0.6"
    how = client.get_registered_model("diffusion-digits").description
    assert 'load_model("models:/diffusion-digits@champion").predict([{"label": "zero"}])' in how
    assert '.predict([{"source": "ab"}])' in client.get_registered_model("transformer-names").description


def test_a_champion_keeps_the_sentence_that_made_it_one(registered):
    made.diffusion(registered / "models" / "diffusion" / "T20", key="better")
    reports = made.comparison(registered / "reports", frechet=0.5)
    for _ in range(2):
        registry.register(Params(), registered / "models", reports)
    version = store.client().get_model_version("diffusion-digits", "2")
    assert version.description == "champion: frechet 0.5 against 0.6 of version 1 on the same data"
    assert version.tags["verdict"] == version.description
    found = {model["name"]: model for model in json.loads((reports / "registered.json").read_text())["models"]}
    assert found["diffusion-digits"]["key"] == "better"

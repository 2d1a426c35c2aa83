import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from pipelines import deployments, form
from pipelines.evaluate import evaluate
from pipelines.pipeline import pipeline
from pipelines.sweep import sweep
from pipelines.train import train
from stepladder.errors import UserError
from stepladder.params import Params, load, presets, resolve
from tests import own_code
from tests.pipelines.project import ROOT

SPEC_FLOWS = (pipeline, train, sweep, evaluate)
SECTIONS = [
    "images", "text", "feature_net", "noisy_classifier", "diffusion", "sampling", "transformer", "decoding", "evaluation", "promotion"
]  # fmt: skip


def read(flow: Any, preset: str, **typed: Any) -> Params:
    """What ``flow`` runs where its form has ``typed`` and is else left empty."""
    given = flow.validate_parameters({"preset": preset, **typed})
    fields = {
        name: given.get(name) for name in inspect.signature(flow.fn).parameters if name not in ("preset", "models")
    }
    return form.read(preset, fields)


@pytest.mark.parametrize("flow", SPEC_FLOWS, ids=lambda flow: flow.name)
def test_a_form_left_empty_means_the_presets_values_over_the_workspaces(flow):
    assert read(flow, form.WORKSPACE) == load()
    for preset in presets():
        assert read(flow, preset) == resolve(preset).params


@pytest.mark.parametrize("section", SECTIONS)
def test_what_is_typed_counts_in_every_field_also_where_it_equals_the_default(section):
    typed = form.filled_in(Params(), {section: None})
    for preset in ("quick", "fashion-mnist", "scitldr"):
        assert getattr(read(pipeline, preset, **typed), section) == getattr(Params(), section)


def test_typed_field_wins_over_the_preset_and_leaves_its_neighbours_to_it():
    default = load().diffusion.training.steps
    assert load(preset="quick").diffusion.training.steps != default
    params = read(sweep, "quick", diffusion={"training": {"steps": default}}, timesteps=[10, 50, 200, 1000])
    assert params.diffusion.training.steps == default
    assert params.sweep.timesteps == load().sweep.timesteps
    assert params.diffusion.training.warmup_steps == load(preset="quick").diffusion.training.warmup_steps
    assert params.sweep.sampling_steps == load(preset="quick").sweep.sampling_steps


def test_empty_list_and_no_are_typed_values():
    params = read(sweep, form.WORKSPACE, sampling={"clip": "false"}, diffusion={"curriculum": []})
    assert params.sampling.clip is False
    assert params.diffusion.curriculum == ()


def leaves(schema: dict[str, Any], definitions: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for field in schema["properties"].values():
        whole = definitions[field["$ref"].rpartition("/")[2]] if "$ref" in field else field
        if "properties" in whole:
            yield from leaves(whole, definitions)
        else:
            yield whole


@pytest.mark.parametrize("flow", SPEC_FLOWS, ids=lambda flow: flow.name)
def test_no_field_shows_a_value_that_a_preset_may_change(flow):
    schema = flow.parameters.model_dump()
    del schema["properties"]["preset"]
    schema["properties"].pop("models", None)
    found = list(leaves(schema, schema.get("definitions", {})))
    assert len(found) > 20
    for field in found:
        assert "default" not in field, field
        assert "(params.yaml: " in field["description"]
        assert field["type"] != "boolean", "a switch shows no even where nobody chose"
        assert "anyOf" not in field


def test_unknown_preset_is_refused():
    with pytest.raises(UserError, match=r"There is no preset 'quik'; there are: .*quick"):
        form.read("quik", {})


@pytest.mark.parametrize("key", own_code.NAMES)
def test_a_form_names_no_code_to_be_run(key, tmp_path, monkeypatch):
    """Nothing of it is imported; one that a file names may stay, as a flow run that is tried again has it among its values."""
    monkeypatch.chdir(tmp_path)
    own_code.write(tmp_path, "formed", "\nopen('ran', 'w').close()\n")
    (tmp_path / "params.yaml").write_text("{}")
    typed = own_code.given(key, f"formed:{own_code.NAMES[key]}")
    with pytest.raises(
        UserError, match=f"{key}=formed:.* names code to be run, which forms and requests cannot"
    ) as refused:
        read(pipeline, form.WORKSPACE, **typed)
    assert "\n" not in str(refused.value)
    assert not Path("ran").exists()
    file = {"sweep": {"timesteps": [1000]}} | typed
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(file))
    assert read(pipeline, form.WORKSPACE, **typed) == form.read(form.WORKSPACE, {}) == load()
    assert Path("ran").exists()


@pytest.fixture(scope="module")
def deployed(prefect_api: str) -> dict[str, str]:
    return {d.flow_name: str(d.apply()) for d in deployments.deployments()}  # type: ignore[misc]


def test_form_shows_help_bounds_choices_and_the_workspaces_values(prefect_api, deployed):
    schema = httpx.get(f"{prefect_api}/deployments/{deployed['sweep']}").json()["parameter_openapi_schema"]
    fields = schema["properties"]
    assert sorted(fields, key=lambda name: fields[name]["position"]) == [
        "preset", "timesteps", "sampling_steps", "seed", "diffusion", "sampling",
    ]  # fmt: skip
    assert fields["preset"]["enum"][:1] == ["params.yaml"]
    assert "quick" in fields["preset"]["enum"]
    assert fields["timesteps"]["description"].endswith(f"(params.yaml: {list(load().sweep.timesteps)})")
    help_ = Params.model_fields["seed"].description
    assert fields["seed"]["description"] == f"{help_}; at least 0 and below 2147483648 (params.yaml: 0)"
    section = fields["diffusion"]["properties"]
    assert section["label_dropout"]["description"].endswith("at least 0 and at most 1 (params.yaml: 0.1)")
    assert section["prediction"]["enum"] == ["eps", "x0", "v"]


def test_schedule_that_someone_made_outlives_serving_again(prefect_api, deployed):
    schedules = f"{prefect_api}/deployments/{deployed['train']}/schedules"
    given = {"schedule": {"cron": "0 2 * * *", "timezone": "Europe/Kyiv"}, "active": True, "parameters": {"seed": 5}}
    assert httpx.post(schedules, json=[given]).status_code == 201
    for deployment in deployments.deployments():
        deployment.apply()
    (kept,) = httpx.get(schedules).json()
    assert kept["active"]
    assert kept["schedule"]["cron"] == "0 2 * * *"
    assert kept["parameters"] == {"seed": 5}


FIELDS = {
    "pipeline": {
        "preset", "timesteps", "sampling_steps", "seed", "images", "text", "feature_net", "noisy_classifier", "diffusion",
        "sampling", "transformer", "decoding", "evaluation", "promotion",
    },
    "sweep": {"preset", "timesteps", "sampling_steps", "seed", "diffusion", "sampling"},
    "train": {"models", "preset", "timesteps", "seed", "diffusion", "transformer"},
    "evaluate": {
        "models", "preset", "timesteps", "sampling_steps", "seed", "sampling", "decoding", "evaluation",
    },
    "promote": {"model", "force", "reason"},
    "report": {"experiment"},
    "reproduce": {"model", "evaluate"},
    "predict": {"model", "source", "out", "steps", "beam_size", "seed", "chunk"},
}  # fmt: skip


@pytest.mark.parametrize("flow", FIELDS)
def test_every_field_of_every_form_has_help_and_may_be_left_as_it_is(prefect_api, deployed, flow):
    schema = httpx.get(f"{prefect_api}/deployments/{deployed[flow]}").json()["parameter_openapi_schema"]
    assert set(schema["properties"]) == FIELDS[flow]
    assert not schema.get("required")
    waiting = list(schema["properties"].values())
    while waiting:
        field = waiting.pop()
        assert field["description"]
        waiting += field.get("properties", {}).values()


def test_form_of_pipeline_has_every_section_that_a_stage_of_dvc_yaml_depends_on():
    """But for the page, which shows all parameters and is made of none."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    stages.pop("report")
    named = {name for stage in stages.values() for name in stage.get("do", stage).get("params", [])}
    sections = {name.partition(".")[0] for name in named if "$" not in name} | {"images", "text"}
    assert sections - {"sweep"} <= FIELDS["pipeline"]


def test_models_to_choose_are_those_of_dvc_yaml(prefect_api, deployed):
    for flow in ("train", "evaluate"):
        schema = httpx.get(f"{prefect_api}/deployments/{deployed[flow]}").json()["parameter_openapi_schema"]
        assert {"diffusion", "transformer"} <= set(schema["properties"]["models"]["enum"])


@pytest.mark.parametrize(
    ("flow", "parameters", "words"),
    [
        ("sweep", {"diffusion": {"flip": True}}, "is not one of ['true', 'false']"),
        ("sweep", {"timesteps": [0]}, "0 is less than the minimum of 1"),
        ("pipeline", {"timesteps": []}, "timesteps"),
        ("sweep", {"preset": "none such"}, "is not one of"),
        ("sweep", {"diffusion": {"schedul": "linear"}}, "schedul"),
        ("pipeline", {"transformer": {"dropout": 1.0}}, "dropout"),
        ("train", {"models": "transformr"}, "models"),
        ("promote", {"model": "diffusion-digits"}, "model"),
        ("reproduce", {"model": "models:/diffusion-digits"}, "model"),
        ("predict", {"chunk": 0}, "chunk"),
        ("evaluate", {"decoding": {"beam_size": 0}}, "beam_size"),
        ("report", {"experiment": "not a name"}, "experiment"),
    ],
)
def test_server_refuses_what_no_run_can_have(prefect_api, deployed, flow, parameters, words):
    answer = httpx.post(f"{prefect_api}/deployments/{deployed[flow]}/create_flow_run", json={"parameters": parameters})
    assert answer.status_code == 409
    assert words in answer.json()["detail"]


@pytest.mark.slow
def test_all_flows_deploy_to_a_work_pool(prefect_api: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)
    monkeypatch.chdir(ROOT)
    prefect = [sys.executable, "-m", "prefect", "--no-prompt"]
    subprocess.run([*prefect, "work-pool", "create", "--type", "process", "stepladder"], check=True, timeout=120)
    subprocess.run([*prefect, "deploy", "--all"], check=True, timeout=300)
    found = httpx.post(f"{prefect_api}/deployments/filter", json={}).json()
    pooled = {d["entrypoint"].partition(":")[2] for d in found if d["work_pool_name"] == "stepladder"}
    assert pooled == {flow.name for flow in deployments.FLOWS}
    assert all("stepladder" in d["tags"] for d in found)

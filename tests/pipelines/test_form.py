import subprocess
import sys

import httpx
import pytest
import yaml

from pipelines import deployments, form
from stepladder.errors import UserError
from stepladder.params import Params, load
from tests.pipelines.project import ROOT


def test_untouched_form_means_the_presets_values():
    shown = {"seed": form.SHOWN.seed, "diffusion": form.SHOWN.diffusion, "timesteps": form.SHOWN.sweep.timesteps}
    assert form.read(form.WORKSPACE, shown) == load()
    assert form.read("quick", shown) == load(preset="quick")


def test_changed_field_wins_over_the_preset():
    changed = form.SHOWN.diffusion.model_copy(update={"label_dropout": 0.37})
    params = form.read("quick", {"diffusion": changed})
    assert params.diffusion.label_dropout == 0.37
    assert params.diffusion.training == load(preset="quick").diffusion.training


def test_unknown_preset_is_refused():
    with pytest.raises(UserError, match=r"There is no preset 'quik'; there are: .*quick"):
        form.read("quik", {})


@pytest.fixture(scope="module")
def deployed(prefect_api: str) -> dict[str, str]:
    return {d.flow_name: str(d.apply()) for d in deployments.deployments()}  # type: ignore[misc]


def test_form_shows_help_bounds_choices_and_the_workspaces_values(prefect_api, deployed):
    schema = httpx.get(f"{prefect_api}/deployments/{deployed['sweep']}").json()["parameter_openapi_schema"]
    fields = schema["properties"]
    assert list(sorted(fields, key=lambda name: fields[name]["position"])) == [
        "preset", "timesteps", "sampling_steps", "seed", "diffusion", "sampling",
    ]  # fmt: skip
    assert fields["preset"]["enum"][:1] == ["params.yaml"]
    assert "quick" in fields["preset"]["enum"]
    assert fields["timesteps"]["default"] == list(load().sweep.timesteps)
    help_ = Params.model_fields["seed"].description
    assert fields["seed"]["description"] == f"{help_}; at least 0 and below 2147483648"
    section = schema["definitions"]["Diffusion"]["properties"]
    assert section["label_dropout"]["description"].endswith("at least 0 and at most 1")
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
        "preset", "timesteps", "sampling_steps", "seed", "images", "text", "feature_net", "diffusion",
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
def test_every_field_of_every_form_has_help_and_a_default(prefect_api, deployed, flow):
    schema = httpx.get(f"{prefect_api}/deployments/{deployed[flow]}").json()["parameter_openapi_schema"]
    assert set(schema["properties"]) == FIELDS[flow]
    sections = schema.get("definitions", {}).values()
    assert all("default" in field for field in schema["properties"].values())
    assert all(section["description"] for section in sections)
    for fields in (schema["properties"], *(section["properties"] for section in sections)):
        assert not [name for name, field in fields.items() if "$ref" not in field and not field.get("description")]


def test_form_of_pipeline_has_every_section_that_a_stage_of_dvc_yaml_depends_on():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values()
    named = {name for stage in stages for name in stage.get("do", stage).get("params", [])}
    sections = {name.partition(".")[0] for name in named if "$" not in name} | {"images", "text"}
    assert sections - {"sweep"} <= FIELDS["pipeline"]


def test_models_to_choose_are_those_of_dvc_yaml(prefect_api, deployed):
    for flow in ("train", "evaluate"):
        schema = httpx.get(f"{prefect_api}/deployments/{deployed[flow]}").json()["parameter_openapi_schema"]
        assert {"diffusion", "transformer"} <= set(schema["properties"]["models"]["enum"])


@pytest.mark.parametrize(
    ("flow", "parameters", "words"),
    [
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

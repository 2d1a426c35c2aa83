import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stepladder import history
from stepladder.data.card import read_card
from stepladder.data.preparing import images
from stepladder.errors import UserError
from stepladder.params import Params, Promotion, build
from stepladder.registration import Registration
from stepladder.reporting import report
from stepladder.tracking import figures, loadable, promotion, registry, runs, store
from tests import digits
from tests.tracking import made

QUICK = build({"decoding": {"beam_size": 2, "max_length": 8}})


def register(project: Path, params: Params = QUICK, **compared) -> dict[str, dict]:
    reports = made.comparison(project / "reports", **compared)
    found = registry.register(params, project / "models", reports)
    assert history.read(reports / "registered.json") == found
    assert all(model.keys() == Registration.__annotations__.keys() for model in found["models"])
    return {model["name"]: model for model in found["models"]}


@pytest.fixture
def models(project) -> Path:
    made.diffusion(project / "models" / "diffusion" / "T20")
    made.translation(project / "models" / "transformer")
    return project


@pytest.fixture
def unpacked(monkeypatch):
    """Logging a model, and loading it in a fresh process, take seconds: here its version has no files."""

    def log(client, run_id, family, folder, settings, example, beside):
        experiment = client.get_run(run_id).info.experiment_id
        return client.create_logged_model(experiment, name=family, source_run_id=run_id)

    monkeypatch.setattr(loadable, "log", log)
    monkeypatch.setattr(
        promotion, "probe", lambda uri: {"megabytes": 1.0, "seconds_to_load": 0.5, "seconds": 0.1, "rows": 2}
    )


def aliases(name: str) -> dict[str, str]:
    return {alias: str(number) for alias, number in store.client().get_registered_model(name).aliases.items()}


IN_A_FRESH_PROCESS = """
import json, sys
import mlflow, pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
pictures = mlflow.pyfunc.load_model("models:/diffusion-digits@champion")
answer = pictures.predict(pd.DataFrame({"label": ["two", "0"]}))
again = pictures.predict(pd.DataFrame({"label": ["two", "0"]}), params={"steps": 20, "seed": 1})
columns = [pictures.predict(table) for table in ({"label": ["two", "0"]}, [{"label": "two"}, {"label": "0"}])]
words = mlflow.pyfunc.load_model("models:/transformer-names@champion")
texts = words.predict(pd.DataFrame({"source": ["ab", "ba"]}), params={"beam_size": 1})
assert words.predict({"source": ["ab", "ba"]}, params={"beam_size": 1}).equals(texts)
import stepladder
print(json.dumps({
    "shape": answer.shape, "type": str(answer.dtype), "differs": bool((answer != again).any()),
    "alike": all(bool((answer == other).all()) for other in columns),
    "columns": list(texts.columns), "texts": len(texts), "code": stepladder.__file__,
}))
"""


def test_models_are_loaded_without_pickle_in_a_fresh_process(models):
    found = register(models)
    assert {name: model["aliases"] for name, model in found.items()} == {
        "diffusion-digits": ["challenger", "champion"],
        "transformer-names": ["challenger", "champion"],
    }
    stored = [file for file in (models / "mlruns" / "artifacts").rglob("*") if file.is_file()]
    assert {file.name for file in stored} >= {"model.safetensors", "config.json", "tokenizer.json", "requirements.txt"}
    assert not [file for file in stored if file.suffix in (".pkl", ".pickle", ".pt", ".pth", ".bin", ".pyc")]
    environment = os.environ | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-c", IN_A_FRESH_PROCESS, store.uri()]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    code = Path(answer.pop("code"))
    assert answer == {
        "shape": [2, 1, 8, 8],
        "type": "uint8",
        "differs": True,
        "alike": True,
        "columns": ["translation"],
        "texts": 2,
    }
    assert models in code.parents, "the code it was registered with"
    assert not [file for file in stored if file.read_bytes()[:2] in (b"\x80\x04", b"\x80\x05")]
    requirements = next(file for file in stored if file.name == "requirements.txt").read_text()
    assert all("==" in line and "+" not in line for line in requirements.split())

    serve(found)


def serve(found) -> None:
    """What `mlflow models serve` answers."""
    import mlflow
    from fastapi.testclient import TestClient
    from mlflow.pyfunc import scoring_server

    served = TestClient(scoring_server.init(mlflow.pyfunc.load_model("models:/diffusion-digits@champion")))
    body = {"dataframe_split": {"columns": ["label"], "data": [["one"], ["2"]]}, "params": {"steps": 1}}
    pictures = served.post("/invocations", json=body).json()["predictions"]
    assert len(pictures) == 2
    assert all(0 <= value <= 255 for value in pictures[0][0][0])
    for wrong, sentence in (({"steps": 21}, "21"), ({"guidance_scale": -1.0}, "guidance_scale: input should be")):
        refused = served.post("/invocations", json=body | {"params": wrong})
        assert refused.status_code == 400
        assert sentence in refused.json()["message"]
    body["dataframe_split"]["data"] = [["ten"]]
    refused = served.post("/invocations", json=body)
    assert refused.status_code == 400
    assert "does not know the class ten; it knows: zero, one, two" in refused.json()["message"]

    served = TestClient(scoring_server.init(mlflow.pyfunc.load_model("models:/transformer-names@champion")))
    body = {"dataframe_records": [{"source": "ab"}, {"source": ""}], "params": {"beam_size": 1}}
    answer = served.post("/invocations", json=body).json()["predictions"]
    assert [list(row) for row in answer] == [["translation"], ["translation"]]
    assert served.post("/invocations", json=body | {"params": {"beam_size": 0}}).status_code == 400
    assert found["transformer-names"]["version"] == "1"


def test_versions_say_where_they_come_from(models, unpacked):
    model = register(models)["diffusion-digits"]
    version = store.client().get_model_version("diffusion-digits", model["version"])
    assert version.run_id == model["run_id"] == runs.of_header(made.header())["run_id"]
    assert version.tags == {
        "stepladder.key": "key20", "stepladder.settings": version.tags["stepladder.settings"], "data": "digits",
        "data_hash": "a" * 64, "git_commit": "c" * 40, "judged": "100 pictures, floor 0.5", "frechet": "0.6", "kid": "0.06",
        "accuracy": "0.94", "timesteps": "20", "sampling_steps": "2", "verdict": model["why"], "figure": "frechet",
        "smaller_is_better": "true", "git_dirty": "false", "dvc_lock": "d" * 64, "sweep_run": version.tags["sweep_run"],
        "floor": "0.5", "megabytes": "1", "seconds_to_load": "0.5", "seconds": "0.1",
    }  # fmt: skip
    assert store.client().get_run(version.run_id).info.status == "FINISHED"
    assert store.client().get_run(version.run_id).info.end_time


def test_again_is_no_new_version(models, unpacked):
    first, again = register(models), register(models)
    assert {name: model["version"] for name, model in again.items()} == dict.fromkeys(first, "1")
    assert again["diffusion-digits"]["why"] == "champion already: frechet 0.6"
    assert again["diffusion-digits"]["aliases"] == ["challenger", "champion"]


def test_champion_is_the_better_one_on_the_same_data(models, unpacked):
    register(models)
    made.diffusion(models / "models" / "diffusion" / "T20", key="worse")
    worse = register(models, frechet=0.9)["diffusion-digits"]
    assert worse["aliases"] == ["challenger"]
    assert worse["why"] == (
        "challenger: not better by more than the interval: frechet 0.9 against 0.6 of version 1 on the same data"
    )
    made.diffusion(models / "models" / "diffusion" / "T20", key="better")
    made.translation(models / "models" / "transformer", key="better text")
    better = register(models, frechet=0.5, chrf=55.0)
    assert better["diffusion-digits"]["aliases"] == ["challenger", "champion"]
    assert aliases("diffusion-digits") == {"challenger": "3", "champion": "3"}
    assert better["transformer-names"]["why"] == "champion: chrf 55 against 50 of version 1 on the same data"
    assert aliases("transformer-names") == {"challenger": "2", "champion": "2"}


def test_figures_of_other_data_are_not_compared(models, unpacked):
    register(models)
    made.diffusion(models / "models" / "diffusion" / "T20", key="other", content_hash="e" * 64)
    other = register(models, frechet=0.1)["diffusion-digits"]
    assert other["aliases"] == ["challenger"]
    assert "measured on other data than champion version 1's" in other["why"]
    assert aliases("diffusion-digits") == {"challenger": "2", "champion": "1"}


def test_figures_judged_in_another_way_are_not_compared(models, unpacked):
    register(models)
    made.diffusion(models / "models" / "diffusion" / "T20", key="other")
    other = register(models, frechet=0.1, floor=0.05)["diffusion-digits"]
    assert other["aliases"] == ["challenger"]
    assert "(100 pictures, floor 0.05) than champion version 1 (100 pictures, floor 0.5)" in other["why"]


def test_other_settings_are_another_version(models, unpacked):
    register(models)
    again = register(models, build({"decoding": {"beam_size": 1, "max_length": 8}}))
    assert {name: model["version"] for name, model in again.items()} == {
        "diffusion-digits": "1",
        "transformer-names": "2",
    }


def test_names_are_made_fit(models, unpacked):
    begin = made.header(data={"name": "Zalando/Fashion MNIST", "content_hash": "a" * 64})
    made.finished(models / "models" / "diffusion" / "T20", begin)
    assert "diffusion-zalando-fashion-mnist" in register(models)


def test_without_a_store_nothing_is_registered(models, monkeypatch):
    monkeypatch.setenv("STEPLADDER_TRACKING", "journal")
    found = registry.register(QUICK, models / "models", made.comparison(models / "reports"))
    assert found["tracking_uri"] == ""
    assert {model["name"] for model in found["models"]} == {"diffusion-digits", "transformer-names"}
    assert not [model for model in found["models"] if "version" in model]
    assert "stepladder sync" in found["why"]
    assert history.read(models / "reports" / "registered.json") == found


def say_judged(reports: Path, **keys: str) -> None:
    """The comparison in ``reports`` is of the trainings ``keys``."""
    file = reports / "comparison.json"
    judged = {"diffusion/T20": {"model": keys["pictures"]}, "transformer": {"model": keys["text"]}}
    file.write_text(json.dumps(json.loads(file.read_text()) | {"judged": judged}))


@pytest.mark.parametrize(
    ("other", "again"),
    [("pictures", "stepladder evaluate diffusion --timesteps 20"), ("text", "stepladder evaluate transformer")],
)
def test_a_comparison_of_another_training_is_neither_registered_nor_reported(models, other, again):
    reports = made.comparison(models / "reports")
    say_judged(reports, **{"pictures": "key20", "text": "keyt"} | {other: "another"})
    for do in (
        lambda: registry.register(QUICK, models / "models", reports),
        lambda: report.write(reports, models / "models", QUICK),
    ):
        with pytest.raises(UserError, match=rf"another training \(key another\).*`{again}` and `stepladder compare`"):
            do()
    assert store.client().search_registered_models() == []
    assert not (reports / "registered.json").exists()
    assert not (reports / "index.html").exists()


def test_the_version_is_of_the_training_that_was_judged(models, unpacked):
    reports = made.comparison(models / "reports")
    say_judged(reports, pictures="key20", text="keyt")
    found = registry.register(QUICK, models / "models", reports)["models"]
    assert {model["name"]: model["key"] for model in found} == {
        "diffusion-digits": "key20",
        "transformer-names": "keyt",
    }
    for model in found:
        version = store.client().get_model_version(model["name"], model["version"])
        assert version.tags["stepladder.key"] == model["key"]
        assert store.client().get_run(version.run_id).data.tags["stepladder.key"] == model["key"]


def test_translations_no_better_than_what_has_learned_nothing_are_no_champion(models, unpacked):
    reports = made.comparison(models / "reports", chrf=0.0)
    compared = json.loads((reports / "comparison.json").read_text())
    compared["translation"] |= {"chrf_low": 0.0, "chrf_high": 0.2, "copy": {"chrf": 0.4}, "exchanged": {"chrf": 11.5}}
    measured = figures.of_text(compared["translation"])
    assert measured is not None
    assert (measured.tags["baseline"], measured.tags["baseline_of"]) == ("11.5", "the references of other sentences")
    assert figures.failed(measured.tags, Promotion()).startswith(
        "no skill: chrf 0 (0 to 0.2) is not better than the ref"
    )
    (reports / "comparison.json").write_text(json.dumps(compared))
    found = {model["name"]: model for model in registry.register(QUICK, models / "models", reports)["models"]}
    poor = found["transformer-names"]
    assert poor["aliases"] == ["challenger"]
    assert "it counts as failed (no skill: chrf 0" in poor["why"]
    assert aliases("transformer-names") == {"challenger": "1"}
    assert store.client().get_model_version("transformer-names", "1").tags["baseline"] == "11.5"
    assert found["diffusion-digits"]["aliases"] == ["challenger", "champion"], "the other stands for itself"


def test_the_name_of_the_pictures_is_that_of_the_registered_model(models, unpacked):
    card = images.prepare(digits.params(images={"name": "Mine"}), models / "data" / "images")
    assert card["name"] == read_card(models / "data" / "images")["name"] == "Mine"
    header = made.header(data={"name": card["name"], "content_hash": card["content_hash"]})
    made.finished(models / "models" / "diffusion" / "T20", header)
    assert set(register(models)) == {"diffusion-mine", "transformer-names"}


def test_without_a_comparison_is_one_sentence(models):
    with pytest.raises(UserError, match=r"comparison\.json does not exist"):
        registry.register(QUICK, models / "models", models / "reports")


def test_a_model_that_fails_its_example_is_not_registered(models):
    (models / "models" / "diffusion" / "T20" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match="holds no diffusion model that can be loaded"):
        registry.register(QUICK, models / "models", made.comparison(models / "reports"))
    assert store.client().search_registered_models() == []
    assert not (models / "reports" / "registered.json").exists()

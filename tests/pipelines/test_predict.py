"""The flow ``predict``, with a registered model and a real Prefect server."""

import pytest

from pipelines.predict import predict
from tests import registered

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_api")]


@pytest.fixture
def project(monkeypatch):
    folder = registered.project()
    monkeypatch.chdir(folder)
    for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI", "STEPLADDER_TRACKING"):
        monkeypatch.delenv(name, raising=False)
    return folder


def test_a_file_is_translated_and_a_wrong_one_refused(project, tmp_path):
    sentences, out = tmp_path / "sentences.txt", tmp_path / "translations.txt"
    sentences.write_text("Ukraine\nIceland\n\nFrance\n")
    model = "models:/transformer-names@champion"
    state = predict(model, str(sentences), str(out), beam_size=1, chunk=2, return_state=True)
    assert state.is_completed(), state.message
    assert out.read_text().count("\n") == 4
    again = predict(model, str(sentences), str(out), beam_size=1, return_state=True)
    assert again.is_failed()
    assert again.message == f"{out} exists and is not written over; remove it, or name another with --out."

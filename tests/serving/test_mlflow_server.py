"""``mlflow models serve``: the real server process answers for both families, by the champions' names."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests import registered
from tests.browser.conftest import free_port

pytestmark = pytest.mark.slow


@contextmanager
def server(model: str) -> Iterator[str]:
    project, port = registered.project(), free_port()
    environment = registered.environment(
        MLFLOW_TRACKING_URI=f"sqlite:///{project}/mlruns/mlflow.db", MLFLOW_ALLOW_PICKLE_DESERIALIZATION="false"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "models", "serve", "-m", model, "--env-manager", "local", "--port", str(port)],
        cwd="/", env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=False,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(process, address)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=60)


def wait_for(process: subprocess.Popen[bytes], address: str) -> None:
    end = time.monotonic() + 240
    while time.monotonic() < end:
        assert process.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(f"{address}/ping", timeout=5).close()
            return
        except OSError:
            time.sleep(0.3)
    raise AssertionError("the server did not start")


def post(address: str, body: object) -> tuple[int, dict]:
    request = urllib.request.Request(
        f"{address}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_pictures():
    with server("models:/diffusion-digits@champion") as address:
        rows = {"dataframe_records": [{"label": "3"}, {"label": "7"}]}

        def pictures(**params: object) -> list:
            status, answer = post(address, rows | {"params": params})
            assert status == 200, answer
            return answer["predictions"]

        first = pictures(steps=3, seed=1, sampler="ddim")
        assert [len(first), len(first[0]), len(first[0][0]), len(first[0][0][0])] == [2, 1, 8, 8]
        assert pictures(steps=3, seed=1, sampler="ddim") == first
        assert pictures(steps=3, seed=2, sampler="ddim") != first
        assert pictures(steps=1, seed=1, sampler="ddim") != first
        assert pictures(steps=3, seed=1, sampler="ddim", guidance_scale=4.0) != first
        status, refused = post(address, rows | {"params": {"steps": 7}})
        assert status == 400
        assert "S=7 sampling steps given for a model of T=6" in refused["message"]
        status, refused = post(address, {"dataframe_records": [{"digit": "3"}]})
        assert status == 400
        assert "missing inputs ['label']" in refused["message"]


def test_translations():
    with server("models:/transformer-names@champion") as address:
        rows = {"dataframe_records": [{"source": "Ukraine"}, {"source": ""}]}
        status, answer = post(address, rows | {"params": {"beam_size": 1}})
        assert status == 200, answer
        assert [list(row) for row in answer["predictions"]] == [["translation"], ["translation"]]
        assert answer["predictions"][1]["translation"] == ""
        status, refused = post(address, rows | {"params": {"beam_size": 0}})
        assert status == 400
        assert "beam_size" in refused["message"]

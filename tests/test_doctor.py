import pytest

from stepladder import doctor
from stepladder.doctor import Finding
from stepladder.errors import UserError
from tests.pipelines import project


@pytest.fixture
def here(tmp_path, monkeypatch):
    for variable in ("DVC_ROOT", "PREFECT_API_URL", "MLFLOW_TRACKING_URI", "STEPLADDER_TRACKING"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_line_a_check_and_0_where_nothing_is_wrong(here, capsys, monkeypatch):
    project.make(here / "project")
    monkeypatch.chdir(here / "project")
    monkeypatch.setattr(doctor, "torch", lambda: Finding("ok", "there"))
    assert doctor.run() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == [
        "python", "torch", "disk", "git", "dvc", "tracking", "prefect", "parameters", "data",
    ]  # fmt: skip
    assert "digits at T=10, 20" in lines[7]


def test_everything_wrong_is_named_with_its_remedy_and_no_exception(here, capsys, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://someone:secret@127.0.0.1:9/api")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    (here / "params.yaml").write_text("sweep: {timestep: [1]}")
    monkeypatch.setattr(doctor, "torch", lambda: 1 / 0)
    assert doctor.run() == 1
    said = capsys.readouterr().out
    for words in (
        "ZeroDivisionError",
        "git init",
        "stepladder new FOLDER",
        "STEPLADDER_TRACKING=journal",
        "did you mean sweep.timesteps?",
    ):
        assert words in said
    assert "PREFECT_API_URL=http://127.0.0.1:9/api does not answer" in said
    assert "secret" not in said


def test_little_disk_is_a_warning_then_wrong(here, monkeypatch):
    for free, verdict in ((1e8, "wrong"), (2e9, "warn"), (9e9, "ok")):
        monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _, free=free: type("Usage", (), {"free": free}))
        assert doctor.disk(here).verdict == verdict


def test_torch_that_does_not_import_is_wrong(monkeypatch, tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('no such driver')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    finding = doctor.torch()
    assert (finding.verdict, "no such driver" in finding.text) == ("wrong", True)


def test_a_users_error_is_its_sentence():
    def check() -> Finding:
        raise UserError("This is so; do that.")

    assert doctor._safely(check) == Finding("wrong", "This is so; do that.")

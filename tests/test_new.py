"""A project made outside of the repository: what is in it, and that it never takes other code for the code that runs."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from stepladder import installed, stages
from stepladder.cli import main
from stepladder.errors import UserError
from stepladder.params import Params, load

ROOT = Path(__file__).parents[1]


@pytest.fixture
def made(tmp_path, monkeypatch, capsys):
    """A new project, which is the current folder."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["new", "project"]) == 0
    assert "git init" in capsys.readouterr().out
    monkeypatch.chdir("project")
    return tmp_path / "project"


def refused(capsys, *words):
    """What a verb says that refuses."""
    assert main(list(words)) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_it_has_what_the_repository_has(made):
    names = installed.files()
    assert len(names) > 40
    for name in names:
        if name != Path(".gitignore"):
            assert (made / name).read_bytes() == (ROOT / name).read_bytes()
    assert load(made / "params.yaml") == Params()
    assert (made / ".gitignore").read_text().startswith((ROOT / ".gitignore").read_text())
    there = {path.relative_to(made) for path in made.rglob("*") if path.is_file() and ".git" not in path.parts}
    assert there == {*names, Path("params.yaml"), Path("README.md")}


def test_every_kind_of_file_that_commands_read_is_there(made):
    for name in (
        *stages.GRAPHS,
        "prefect.yaml",
        "presets/quick.yaml",
        "sweeps/timesteps.yaml",
        "studies/baselines/study.yaml",
    ):
        assert (made / name).exists(), name
    for deployment in yaml.safe_load((made / "prefect.yaml").read_text())["deployments"]:
        assert (made / deployment["entrypoint"].partition(":")[0]).exists()
    assert not subprocess.run(["git", "add", "."], cwd=made, check=True, capture_output=True).stderr
    tracked = subprocess.run(["git", "ls-files"], cwd=made, check=True, capture_output=True, text=True).stdout
    assert "src/stepladder" not in tracked
    assert "pipelines" not in tracked


def test_parameters_are_the_preset_s_and_what_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["new", "project", "--preset", "quick", "-S", "seed=7"]) == 0
    assert load(tmp_path / "project" / "params.yaml") == load(preset="quick", overrides=["seed=7"])


@pytest.mark.parametrize("arguments", [["--preset", "absent"], ["-S", "sede=1"], ["-S", "seed=one"]])
def test_bad_parameters_make_nothing(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    refused(capsys, "new", "project", *arguments)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_empty_stays_as_it_is(tmp_path, monkeypatch, capsys):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    monkeypatch.chdir(tmp_path)
    assert "there is not empty" in refused(capsys, "new", "there")
    assert "file cannot be made a project" in refused(capsys, "new", "file")
    assert (tmp_path / "file").read_text() == "mine"
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["notes.txt"]


def test_a_repository_that_is_there_is_used(tmp_path, monkeypatch, capsys):
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    monkeypatch.chdir(tmp_path)
    assert main(["new", "."]) == 0
    assert f"in the git repository {tmp_path.resolve()}" in capsys.readouterr().out
    assert (tmp_path / "dvc.yaml").exists()


def test_without_git_dvc_is_told_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(["new", "project"]) == 0
    assert "git is not installed" in capsys.readouterr().out
    assert (tmp_path / "project" / ".dvc" / "config").read_text().endswith("no_scm = true\n")


def test_a_link_to_another_installation_is_refused_by_plan_and_by_stages(made, tmp_path, monkeypatch, capsys):
    (tmp_path / "other").mkdir()
    for target, said in (
        (tmp_path / "other", "run the former, or `stepladder link`"),
        (tmp_path / "gone", "leads to no"),
    ):
        installed.SOURCE.unlink()
        installed.SOURCE.symlink_to(target)
        assert said in refused(capsys, "plan", "--no-trial")
        with monkeypatch.context() as patch:
            patch.setenv("DVC_ROOT", str(made))
            assert said in refused(capsys, "compare")
    assert main(["link"]) == 0
    installed.check(made)


def test_a_clone_of_a_project_is_linked_first(made, capsys):
    installed.SOURCE.unlink()
    installed.SOURCE.parent.rmdir()
    assert installed.is_made(made)
    assert "`stepladder link`" in refused(capsys, "plan", "--no-trial")
    assert main(["link"]) == 0
    assert "lead to" in capsys.readouterr().out
    installed.check(made)
    stages.check(made)


def test_stages_that_name_other_code_than_they_run_are_refused_and_written_anew(made, monkeypatch, capsys):
    graph = made / "dvc.yaml"
    before = yaml.safe_load(graph.read_text())
    text = graph.read_text().replace("        - src/stepladder/data/shuffle.py\n", "", 1)
    own = "\n  mine:\n    cmd: [echo a, echo b]\n    outs: [mine.txt]\n"
    graph.write_text(text.replace("stages:\n", "stages:" + own, 1))
    assert "train-diffusion" in refused(capsys, "plan", "--no-trial")
    monkeypatch.setenv("DVC_ROOT", str(made))
    assert "does not name all" in refused(capsys, "train", "diffusion", "--timesteps", "10")
    assert "does not name" not in refused(capsys, "train", "feature-net")  # has no data, and is itself all right
    monkeypatch.delenv("DVC_ROOT")
    assert main(["link"]) == 0
    assert "dvc.yaml: what train-diffusion runs was written anew" in capsys.readouterr().out
    after = yaml.safe_load(graph.read_text())
    assert after["stages"].pop("mine") == {"cmd": ["echo a", "echo b"], "outs": ["mine.txt"]}
    assert after == before


def test_results_that_a_newer_version_reads_are_named_and_stages_that_it_has_are_told_of(made, capsys):
    graph = made / "dvc.yaml"
    before = yaml.safe_load(graph.read_text())
    older = yaml.safe_load(graph.read_text())
    older["stages"]["compare"]["deps"].remove("reports/transformer")
    del older["stages"]["report"]
    graph.write_text(yaml.safe_dump(older, sort_keys=False))
    assert "runs and reads in compare" in refused(capsys, "plan", "--no-trial")
    assert main(["link"]) == 0
    assert "dvc.yaml has no stage for `stepladder report`" in capsys.readouterr().out
    after = yaml.safe_load(graph.read_text())["stages"]
    assert set(after["compare"]["deps"]) == set(before["stages"]["compare"]["deps"])
    stages.check(made)


def test_a_new_project_names_the_code_that_runs(made):
    assert not stages.lacking(made / "dvc.yaml")
    assert [stages.differing(graph) for graph in stages.graphs(made)] == [{}, {}, {}]


def test_a_clone_of_the_repository_has_code_of_its_own(tmp_path):
    (tmp_path / "src" / "stepladder").mkdir(parents=True)
    (tmp_path / "dvc.yaml").write_text("stages: {a: {cmd: a, deps: [src/stepladder/a.py]}}")
    assert not installed.is_made(tmp_path)
    installed.check(tmp_path)
    with pytest.raises(UserError, match="code of its own"):
        installed.link(tmp_path)
    assert not os.path.lexists(tmp_path / "pipelines")

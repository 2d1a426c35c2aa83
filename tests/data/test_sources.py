"""Any change of what prepared data is made of is seen by real DVC, by ``plan`` and by ``doctor``; a change of times alone is none."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import yaml

from pipelines import experiments, graph, restoring
from stepladder import doctor
from stepladder.cli import main
from stepladder.data import source
from stepladder.errors import UserError
from stepladder.params import build, load, render
from stepladder.planning import work
from stepladder.sweeps.child import Places
from stepladder.tracking import checkout
from tests.data.made import pair_file, pair_lines, picture, picture_folder, sentence
from tests.data.mirror import pictures_repository
from tests.pipelines.project import ROOT, _commit, dvc, git

PLACES = Places(Path("data/images"), Path("data/text"), Path("models/feature-net"))


def make(folder: Path) -> Path:
    """A project of the two stages that look at sources, with pictures and pairs of its own beside it."""
    folder.mkdir(parents=True)
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / ".dvcignore", folder)
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {name: stages[name] for name in ("source", "prepare")}}))
    (folder / ".gitignore").write_text("/data\n/pairs*\n/pictures*\n__pycache__\n/mirror\n")
    picture_folder(folder / "pictures", 60, ("boat", "cat", "sun"))
    pair_file(folder / "pairs.tsv", pair_lines(".tsv", 200))
    parameters(folder, images="pictures", text="pairs.tsv")
    made = _commit(folder)
    dvc(made, "repro", "--quiet")
    return made


def parameters(folder: Path, *, images: str, text: str) -> None:
    values = {"images": {"source": images}, "text": {"source": text, "vocab_size": 100}}
    (folder / "params.yaml").write_text(render(build(values)), encoding="utf-8")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = make(tmp_path_factory.mktemp("sources") / "project")
    original = folder.parent / "original"
    original.mkdir()
    for name in ("pictures", "pairs.tsv", "params.yaml", "dvc.lock"):
        (shutil.copytree if (folder / name).is_dir() else shutil.copy2)(folder / name, original / name)
    return folder


@pytest.fixture
def project(made, monkeypatch):
    """Up to date, and again what it was afterwards."""
    monkeypatch.chdir(made)
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(shutil.which("dvc") or "").parent), os.environ["PATH"]]))
    yield made
    original = made.parent / "original"
    shutil.rmtree(made / "pictures")
    shutil.copytree(original / "pictures", made / "pictures")
    prepared = (made / "dvc.lock").read_bytes() != (original / "dvc.lock").read_bytes()
    for name in ("pairs.tsv", "params.yaml", "dvc.lock"):
        shutil.copy2(original / name, made / name)
    if prepared:
        dvc(made, "repro", "--quiet")


def stale(folder: Path) -> set[str]:
    """The stages of which ``dvc status`` says something."""
    from dvc.repo import Repo

    with Repo(str(folder)) as repo:
        return set(repo.status())


def counts(folder: Path, key: str) -> int:
    return int(source.read_card(folder / "data" / key)["counts"]["train"])


def planned(key: str) -> str:
    return {piece.name: piece.state for piece in work.of_stages([f"prepare@{key}"], PLACES)}[f"prepare@{key}"]


def add():
    picture(900).save("pictures/cat/new.png")


def remove_a_class():
    shutil.rmtree("pictures/sun")


def overwrite_with_the_same_size():
    file = Path("pictures/boat/000.png")
    content = bytearray(file.read_bytes())
    content[-9] ^= 1
    file.write_bytes(content)


def swap():
    a, b = Path("pictures/boat/000.png"), Path("pictures/cat/001.png")
    a.rename("pictures/x"), b.rename(a), Path("pictures/x").rename(b)


def rename():
    Path("pictures/boat").rename("pictures/ship")


def cut():
    lines = Path("pairs.tsv").read_text().splitlines()
    pair_file(Path("pairs.tsv"), lines[:150])


def grow():
    with Path("pairs.tsv").open("a") as file:
        file.write(f"{sentence(999, 'en')}\t{sentence(999, 'uk')}\n")


def other_order():
    lines = Path("pairs.tsv").read_text().splitlines()
    pair_file(Path("pairs.tsv"), [lines[1], lines[0], *lines[2:]])


OF_PICTURES = [add, remove_a_class, overwrite_with_the_same_size, swap, rename]


@pytest.mark.parametrize("change", [*OF_PICTURES, cut, grow, other_order], ids=lambda change: change.__name__)
def test_a_change_of_content_is_seen_by_all_that_say_what_is_up_to_date(project, change):
    key = "images" if change in OF_PICTURES else "text"
    assert not stale(project)
    assert "has changed since" not in doctor.data(project).text
    change()
    assert stale(project) == {f"prepare@{key}"}
    assert planned(key) == "runs"
    finding = doctor.data(project)
    assert (finding.verdict, f"{key}.source" in finding.text) == ("warn", True), finding.text


def test_children_of_a_sweep_wait_for_data_that_is_to_be_prepared_again(project):
    """And are not held to what is there now."""
    (project / "sweeps").mkdir(exist_ok=True)
    for name, batch in (("fits", 48), ("large", 49)):
        sweep = {"space": {"diffusion.prediction": ["v", "x0"]}, "timesteps": 4}
        sweep["base"] = {"diffusion.training.batch_size": batch}
        (project / f"sweeps/{name}.yaml").write_text(yaml.safe_dump(sweep))
    assert {piece.why for piece in work.of_sweep("fits", PLACES)} == {""}
    with pytest.raises(UserError, match="batch_size=49 and 48 pictures to learn from"):
        work.of_sweep("large", PLACES)
    add()
    for name in ("fits", "large"):
        found = {(piece.state, piece.why) for piece in work.of_sweep(name, PLACES)}
        assert found == {("runs", "after prepare@images")}


def test_cells_of_a_study_wait_for_data_that_is_to_be_prepared_again(project, capsys):
    """Only those that learn from it."""
    of_pictures = {"base": {"images.source": "pictures"}, "measures": ["frechet"], "arms": {"vae": {"family": "vae"}}}
    words = {"text.source": "pairs.tsv", "text.vocab_size": 100}
    of_text = {"base": words, "measures": ["chrf"], "arms": {"words": {"family": "transformer"}}}
    for name, study in (("seen", of_pictures), ("read", of_text)):
        (project / "studies" / name).mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump({"question": "Which?", "seeds": [0]} | study)
        (project / "studies" / name / "study.yaml").write_text(text)

    def told(name: str) -> str:
        (piece,) = work.of_study(name, PLACES)
        assert piece.state == "runs"
        return piece.why

    assert (told("seen"), told("read")) == ("", "")
    add()
    assert (told("seen"), told("read")) == ("after prepare@images", "")
    grow()
    assert (told("seen"), told("read")) == ("after prepare@images", "after prepare@text")
    assert main(["plan", "--study", "read", "--no-trial"]) == 0
    assert "(after prepare@text)" in capsys.readouterr().out


def test_times_alone_change_nothing(project):
    for file in [*Path("pictures").rglob("*.png"), Path("pairs.tsv")]:
        os.utime(file, (1, time.time() - 1000))
    shutil.copytree("pictures", "copied")
    shutil.rmtree("pictures")
    shutil.move("copied", "pictures")
    assert not stale(project)
    assert planned("images") == planned("text") == "up to date"
    assert doctor.data(project).verdict == "ok"


def test_what_grew_is_prepared_again_and_what_was_comes_back_from_the_cache(project):
    """The run-cache knows the old content: it must not come back while the new one is there."""
    before = counts(project, "text")
    grow()
    dvc(project, "repro", "--quiet")
    assert counts(project, "text") > before
    git(project, "checkout", "--quiet", ".")
    shutil.copy2(project.parent / "original" / "dvc.lock", project)
    assert "prepare@text" in stale(project)
    dvc(project, "repro", "--quiet")
    assert counts(project, "text") > before
    shutil.copy2(project.parent / "original" / "pairs.tsv", project)
    assert "prepare@text" in stale(project)
    source.refresh(load())
    assert planned("text") == "restored from the cache"
    assert "is cached - skipping run" in dvc(project, "repro", "prepare@text")
    assert counts(project, "text") == before
    assert not stale(project)


def test_another_source_and_back_by_hand(project):
    before = source.read_card(project / "data/images")
    picture_folder(project / "pictures-b", 60, ("x", "y"))
    parameters(project, images="pictures-b", text="pairs.tsv")
    assert {"source@images", "prepare@images"} <= stale(project)
    dvc(project, "repro", "--quiet")
    assert source.read_card(project / "data/images")["classes"] == ["x", "y"]
    add()  # to the one that is not used: no change, until it is named again
    assert not stale(project)
    parameters(project, images=str(project / "pictures"), text="pairs.tsv")
    dvc(project, "repro", "--quiet")
    after = source.read_card(project / "data/images")
    assert after["classes"] == before["classes"]
    assert sum(after["counts"].values()) == sum(before["counts"].values()) + 1
    assert after["source_fingerprint"] != before["source_fingerprint"]
    assert not stale(project)


def test_an_old_lock_and_old_parameters_name_what_they_named(project):
    picture_folder(project / "pictures-c", 60, ("x", "y"))
    parameters(project, images="pictures-c", text="pairs.tsv")
    dvc(project, "repro", "--quiet")
    original = project.parent / "original"
    shutil.copy2(original / "params.yaml", project)
    shutil.copy2(original / "dvc.lock", project)
    assert "prepare@images" in stale(project)  # its link still leads elsewhere
    dvc(project, "repro", "--quiet")
    assert source.read_card(project / "data/images")["classes"] == ["boat", "cat", "sun"]
    assert not stale(project)


def test_a_fresh_clone_takes_what_is_prepared_from_a_shared_cache(project, tmp_path, monkeypatch):
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(project), str(clone))
    shutil.copy2(project / "dvc.lock", clone)
    dvc(clone, "config", "--local", "cache.dir", str(project / ".dvc/cache"))
    for name in ("pictures", "pairs.tsv"):
        (clone / name).symlink_to(project / name)
    lock = (clone / "dvc.lock").read_text()
    monkeypatch.chdir(clone)
    source.refresh(load())
    assert planned("images") == "restored from the cache"
    ran = [line for line in dvc(clone, "repro").splitlines() if line.startswith("Running stage")]
    assert not [line for line in ran if "prepare" in line]
    assert (clone / "dvc.lock").read_text() == lock
    add()
    assert "prepare@images" in stale(clone)


def test_a_copy_for_an_experiment_has_what_was_prepared(project):
    """Also of another source that was prepared before, which ``dvc.lock`` no longer names."""
    picture_folder(project / "pictures-d", 60, ("x", "y"))
    parameters(project, images="pictures-d", text="pairs.tsv")
    dvc(project, "repro", "--quiet")
    other, original = load(), project.parent / "original"
    for name in ("params.yaml", "dvc.lock"):
        shutil.copy2(original / name, project)
    dvc(project, "repro", "--quiet")
    for params, classes in ((load(), ["boat", "cat", "sun"]), (other, ["x", "y"])):
        with experiments.copy(project, "other", params) as workspace:
            restored = restoring.restore(workspace, graph.read(workspace))
            assert restored == {"source@images", "source@text", "prepare@images", "prepare@text"}
            assert source.read_card(workspace / "data/images")["classes"] == classes
            ran = [line for line in dvc(workspace, "repro").splitlines() if line.startswith("Running stage")]
            assert not ran
    assert not stale(project)


def test_older_data_is_reproduced_from_the_cache_and_without_it_from_the_source_of_then(project, tmp_path):
    """``reproduce`` in a checkout of its own, to which a relative source leads from the project."""
    then = source.read_card(project / "data/images")["content_hash"]
    (origin := tmp_path / "origin").mkdir()
    for name in ("params.yaml", "dvc.lock"):
        shutil.copy2(project / name, origin / name)
    (origin / "environment.json").write_text('{"world_size": 1, "threads": 1}')
    add()
    dvc(project, "repro", "--quiet", "prepare@images")
    assert source.read_card(project / "data/images")["content_hash"] != then
    said: list[str] = []
    made = checkout.make(git(project, "rev-parse", "HEAD").strip(), origin, tmp_path / "made", said.append)
    made.restore("images", then)
    assert said == ["data: data/images from DVC's cache"]
    assert source.read_card(made.folder / "data/images")["content_hash"] == then
    assert counts(made.folder, "images") < counts(project, "images")
    with pytest.raises(UserError, match="preparing it again gives other data"):
        made.restore("images", "0" * 64)
    Path("pictures/cat/new.png").unlink()
    made.stepladder("prepare", "images")
    assert source.read_card(made.folder / "data/images")["content_hash"] == then


@pytest.mark.slow
def test_a_mirrors_set_is_watched(project, tmp_path, monkeypatch):
    folder = pictures_repository(tmp_path / "mirror" / "tiny", count=30)
    monkeypatch.setenv("STEPLADDER_MIRROR", str(tmp_path / "mirror"))
    parameters(project, images="someone/tiny", text="pairs.tsv")
    dvc(project, "repro", "--quiet")
    assert not stale(project)
    shutil.rmtree(folder)
    pictures_repository(folder, count=40)
    assert stale(project) == {"prepare@images"}
    assert "images.source=someone/tiny has changed" in doctor.data(project).text
    dvc(project, "repro", "--quiet")
    assert counts(project, "images") == 40


@pytest.mark.slow
def test_ten_thousand_pictures_cost_half_a_second_at_most(project):
    """Beside a source of one file."""
    from dvc.repo import Repo

    many = project / "pictures-many"
    for c in range(10):
        (many / str(c)).mkdir(parents=True)
        for i in range(1000):
            (many / str(c) / f"{i}.png").write_bytes(b"%d %d" % (c, i))

    def seconds() -> float:
        taken = []
        for _ in range(4):
            began = time.process_time()
            with Repo(str(project)) as repo:
                repo.status(["source@images", "prepare@images"])
            taken.append(time.process_time() - began)
        return min(taken)

    parameters(project, images="digits", text="pairs.tsv")
    source.note("images", load().images)
    least = seconds()
    parameters(project, images="pictures-many", text="pairs.tsv")
    source.note("images", load().images)
    assert seconds() - least < 1.0  # on a busy machine: 0.4 s on a quiet one


class Hub(BaseHTTPRequestHandler):
    """What the hub's client asks for of a data set: the commit of a revision."""

    commits: ClassVar[dict[str, str]] = {}

    def do_GET(self) -> None:
        found = self.commits.get(self.path.rpartition("/")[2] if "/revision/" in self.path else "main")
        self.send_response(200 if found else 404)
        if not found:
            self.send_header("X-Error-Code", "RevisionNotFound")
        self.end_headers()
        self.wfile.write(json.dumps({"id": "someone/tiny", "sha": found}).encode() if found else b"{}")

    def log_message(self, *args: object) -> None:
        pass


def test_a_revision_of_the_hub_that_moved_is_seen_where_the_hub_is_asked(project, monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.delenv("STEPLADDER_MIRROR", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")

    def run(*words: str) -> str:
        done = subprocess.run([sys.executable, "-m", "stepladder", *words], capture_output=True, text=True)
        return done.stdout + done.stderr

    Hub.commits = {"main": "a" * 40, "v1": "c" * 40}
    parameters(project, images="someone/tiny", text="pairs.tsv")
    dvc(project, "repro", "--quiet", "source@images")
    noted = project / "data/sources/images.json"
    assert json.loads(noted.read_text())["commit"] == "a" * 40
    assert (project / "data/sources/images").read_text() == noted.read_text()
    Hub.commits["main"] = "b" * 40
    assert "source@images" not in stale(project)  # DVC asks no network
    assert "prepare@images" in run("plan", "prepare@images", "--no-trial")
    assert json.loads(noted.read_text())["commit"] == "b" * 40
    assert "source@images" in stale(project)
    run("params", "-S", "images.revision=v1", "--write")
    run("source", "images")
    assert json.loads(noted.read_text())["commit"] == "c" * 40
    run("params", "-S", "images.revision=v2", "--write")
    assert run("source", "images") == (
        "stepladder: Data set someone/tiny has no revision v2; give a commit, a branch or a tag of it.\n"
    )
    server.shutdown()
    server.server_close()
    said = run("plan", "prepare@images", "--no-trial")
    assert "images: The hub cannot be reached for data set someone/tiny" in said
    assert "prepare@images" in said


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda f: (f / "linked").symlink_to(f.parent), "linked is a link to a folder"),
        (lambda f: (f / ".dvcignore").touch(), "holds .dvc or .dvcignore"),
        (lambda f: (f / "boat" / ".dvc").mkdir(), "boat is a DVC project of its own"),
    ],
)
def test_what_dvc_could_not_watch_is_refused(tmp_path, spoil, sentence):
    folder = picture_folder(tmp_path / "pictures", 20)
    source.check_watchable(folder, "images.source")
    spoil(folder)
    with pytest.raises(UserError, match=sentence):
        source.check_watchable(folder, "images.source")


def test_a_source_that_changes_while_it_is_read_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture_folder(tmp_path / "pictures", 20)
    fingerprint = source.reading("images", build({"images": {"source": "pictures"}}).images)
    assert len(fingerprint()) == 64
    picture(77).save("pictures/cat/late.png")
    with pytest.raises(UserError, match="changed while it was being prepared"):
        fingerprint()


@pytest.mark.parametrize("given", ["digits", "pictures", "someone/tiny"])
def test_only_the_hub_has_revisions(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    picture_folder(tmp_path / "pictures", 20)
    (tmp_path / "mirror" / "tiny").mkdir(parents=True)
    monkeypatch.setenv("STEPLADDER_MIRROR", str(tmp_path / "mirror"))
    with pytest.raises(UserError, match=r"images\.revision=v1"):
        source.locate("images", build({"images": {"source": given, "revision": "v1"}}).images)

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from stepladder import lineage
from stepladder.errors import UserError
from stepladder.journal import record
from stepladder.params import load, merge
from stepladder.training import checkpoint, families, worker
from tests.training import toy


@pytest.fixture(autouse=True)
def toy_family(monkeypatch):
    toy = replace(families.FAMILIES["diffusion"], module="tests.training.toy")
    monkeypatch.setitem(families.FAMILIES, "diffusion", toy)


def spec(folder: Path, **training) -> Path:
    folder.mkdir()
    settings = {"steps": 40, "batch_size": 8, "warmup_steps": 5, "validate_every": 10} | training
    params = merge(load().model_dump(mode="json"), {"diffusion": {"training": settings}})
    content = {"family": "diffusion", "name": "toy", "params": params, "timesteps": 5, "data": "", "header": {}}
    (folder / "spec.json").write_text(json.dumps(content))
    return folder


def lines(folder: Path, name: str) -> list[tuple[int, float]]:
    found = record.read(folder / "journal.jsonl")
    return [(line["step"], line["metrics"][name]) for line in found if name in line.get("metrics", {})]


@pytest.mark.parametrize(("accumulate", "died"), [(1, 24), (2, 24), (1, 20), (2, 30)])
@pytest.mark.parametrize("every", [0.0, 1e9], ids=["checkpoint before every step", "checkpoint on the exception only"])
def test_killed_in_the_middle_and_run_again_gives_the_same_bits(tmp_path, monkeypatch, accumulate, died, every):
    """Right after a validation, too."""
    whole = spec(tmp_path / "whole", accumulate=accumulate)
    worker.train(whole)

    broken = spec(tmp_path / "broken", accumulate=accumulate)
    monkeypatch.setattr(checkpoint, "EVERY_SECONDS", every)
    monkeypatch.setattr(toy, "DIE_AT", died * accumulate)
    with pytest.raises(RuntimeError, match="killed by the test"):
        worker.train(broken)
    assert checkpoint.finished_steps(broken / "last.ckpt") == died
    monkeypatch.setattr(toy, "DIE_AT", -1)
    worker.train(broken)

    expected, got = (load_file(f / "model" / "model.safetensors") for f in (whole, broken))
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    for name in ("train/loss", "validation/loss"):
        assert lines(whole, name) == lines(broken, name)
    assert [step for step, _ in lines(whole, "train/loss")] == [10, 20, 30, 40]
    assert [step for step, _ in lines(whole, "validation/loss")] == [10, 20, 30, 40]


def test_accumulated_micro_batches_make_steps_of_the_whole_batch(tmp_path):
    folder = spec(tmp_path / "a", accumulate=4)
    worker.train(folder)
    assert json.loads((folder / "model" / "figures.json").read_text())["steps"] == 40


def test_corrupt_checkpoint_is_refused_and_kept(tmp_path):
    folder = spec(tmp_path / "a")
    (folder / "last.ckpt").write_bytes(b"PK\x03\x04 not a checkpoint")
    assert worker.main(folder) == 2
    assert "cannot be read" in (folder / "error.txt").read_text()
    assert (folder / "last.ckpt").read_bytes() == b"PK\x03\x04 not a checkpoint"
    with pytest.raises(UserError, match=r"delete .* to train from the beginning"):
        checkpoint.newest(folder)


@pytest.mark.parametrize("damage", ["cut short", "a byte changed", "gone"])
def test_of_a_damaged_checkpoint_the_one_before_it_is_used(tmp_path, monkeypatch, capsys, damage):
    whole = spec(tmp_path / "whole")
    worker.train(whole)
    broken = spec(tmp_path / "broken")
    monkeypatch.setattr(checkpoint, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(toy, "DIE_AT", 24)
    with pytest.raises(RuntimeError, match="killed by the test"):
        worker.train(broken)
    monkeypatch.setattr(toy, "DIE_AT", -1)
    last = broken / "last.ckpt"
    content = bytearray(last.read_bytes())
    if damage == "gone":  # killed between the two renames
        last.unlink()
    elif damage == "cut short":
        last.write_bytes(content[: len(content) // 2])
    else:
        with zipfile.ZipFile(last) as archive:
            part = max(archive.infolist(), key=lambda part: part.file_size)
        content[part.header_offset + 30 + len(part.filename) + part.file_size // 2] ^= 1
        last.write_bytes(content)
    assert checkpoint.finished_steps(checkpoint.newest(broken)) == 23
    assert ("cannot be read" in capsys.readouterr().out) == (damage != "gone")
    worker.train(broken)
    expected, got = (load_file(f / "model" / "model.safetensors") for f in (whole, broken))
    assert all(torch.equal(expected[name], got[name]) for name in expected)


def killed(folder: Path, monkeypatch, at: int = 24) -> Path:
    """A training that was killed after step ``at``."""
    monkeypatch.setattr(toy, "DIE_AT", at)
    with pytest.raises(RuntimeError, match="killed by the test"):
        worker.train(spec(folder))
    monkeypatch.setattr(toy, "DIE_AT", -1)
    return folder


@pytest.mark.parametrize("changed", [*lineage.deciding(), "nothing"])
def test_under_other_versions_or_on_another_device_a_training_begins_anew(tmp_path, monkeypatch, capsys, changed):
    whole = spec(tmp_path / "whole")
    worker.train(whole)
    broken = killed(tmp_path / "broken", monkeypatch)
    before = (broken / "journal.jsonl").read_text()
    now = lineage.deciding() | ({changed: "another one"} if changed != "nothing" else {})
    then = lineage.deciding().get(changed)
    monkeypatch.setattr(lineage, "deciding", lambda: now)
    capsys.readouterr()
    worker.train(broken)
    said = capsys.readouterr().out
    after = (broken / "journal.jsonl").read_text()
    if changed == "nothing":
        assert "resumes at step 24 of 40" in said
        assert after.startswith(before)
    else:
        (line,) = [line for line in said.splitlines() if "checkpoint" in line]
        assert line == (
            f"The checkpoint of step 24 was made with {changed} {then} (here another one): the training begins anew."
        )
        assert "resumes" not in said
        assert json.loads(after.splitlines()[0])["header"]["environment"] == now
        assert checkpoint.finished_steps(broken / checkpoint.OTHER) == 24, "it is kept"
    assert lines(broken, "train/loss") == lines(whole, "train/loss")
    expected, got = (load_file(f / "model" / "model.safetensors") for f in (whole, broken))
    assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_another_torch_is_seen_for_what_it_is(tmp_path, monkeypatch, capsys):
    broken = killed(tmp_path / "broken", monkeypatch)
    here = torch.__version__
    monkeypatch.setattr(torch, "__version__", "2.0.1")
    assert checkpoint.newest(broken) is None
    assert f"was made with torch {here} (here 2.0.1)" in capsys.readouterr().out


def test_a_checkpoint_that_does_not_say_what_it_was_made_under_is_not_gone_on_with(tmp_path, monkeypatch, capsys):
    broken = killed(tmp_path / "broken", monkeypatch)
    state = torch.load(broken / "last.ckpt", weights_only=True)
    del state[checkpoint.ENVIRONMENT]
    torch.save(state, broken / "last.ckpt")
    assert checkpoint.newest(broken) is None
    assert "was made with versions that were not recorded: the training begins anew." in capsys.readouterr().out
    assert not (broken / "journal.jsonl").exists()


def test_exported_weights_are_the_average(tmp_path):
    folder = spec(tmp_path / "a", ema_half_life=0.05)
    plain = spec(tmp_path / "b", ema_half_life=0.0)
    worker.train(folder)
    worker.train(plain)
    averaged, last = (load_file(f / "model" / "model.safetensors") for f in (folder, plain))
    assert not torch.equal(averaged["stem.weight"], last["stem.weight"])
    assert torch.allclose(averaged["stem.weight"], last["stem.weight"], atol=0.1)

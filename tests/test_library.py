"""``import stepladder as sl``: as docs/library.md shows it, and against what the command line gives."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import stepladder as sl
from stepladder import library
from stepladder.diffusion.networks.backbones import build as network
from stepladder.diffusion.networks.description import described
from stepladder.diffusion.sampling import drawing
from stepladder.errors import UserError
from stepladder.params import Sampling
from tests import digits

BLOCKS = re.findall(r"```python\n(.*?)```", Path("docs/library.md").read_text(encoding="utf-8"), re.S)
FILES = {name: block for block in BLOCKS for name in re.findall(r"\A# (\w+\.py)\n", block)}
SHOWN = [block for block in BLOCKS if block not in FILES.values()]


def run(blocks: list[str], known: dict[str, object]) -> None:
    """Beside the files that the page has."""
    for name, text in FILES.items():
        Path(name).write_text(text, encoding="utf-8")
    for block in blocks:
        exec(compile(block, "docs/library.md", "exec"), known)


def test_what_there_is_is_listed_and_nothing_heavy_is_imported_for_it() -> None:
    assert set(sl.NAMES) == set(library.__all__)
    assert all(getattr(sl, name) is getattr(library, name) for name in sl.NAMES)
    assert set(dir(sl)) >= set(sl.NAMES)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sl.nothing  # noqa: B018
    said = "import sys, stepladder as sl; print(sl.__version__, 'torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    version, *heavy = done.stdout.split()
    assert heavy == ["False", "False"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)


def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    run(SHOWN[:3], {})


@pytest.mark.slow
def test_the_examples_beside_data_and_models_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = digits.prepared()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STEPLADDER_TRACKING", "journal")
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/images").symlink_to(data)
    small = {
        "diffusion": {"training": {"steps": 20, "batch_size": 16, "warmup_steps": 1}},
        "feature_net": {"steps": 30},
    }
    small["diffusion"]["unet"] = {"channels": 8, "heads": 2}
    assert sl.train("models/diffusion/T10", small, timesteps=10) == Path("models/diffusion/T10")
    sl.train("models/feature-net", small, family="feature-net")
    known: dict[str, object] = {"sl": sl, "torch": torch}
    run(SHOWN[3:], known)
    assert known["trainer"].global_step == 20
    figures, drawn = known["figures"], known["drawn"]
    assert drawn.shape == (5, 1, 8, 8)
    assert figures["frechet_low"] <= figures["frechet"] <= figures["frechet_high"]
    assert figures["floor_frechet"] > 0
    pictures, labels, names = sl.pictures("data/images", "test")
    assert pictures.shape[1:] == (1, 8, 8)
    assert pictures.abs().max() <= 1
    assert len(labels) == len(pictures)
    assert names == [str(i) for i in range(10)]
    with pytest.raises(UserError):
        sl.train("models/x", {"diffusion": {"training": {"batch_size": 10**6}}}, timesteps=10)


def conditional() -> sl.Model:
    torch.manual_seed(0)
    shape = {
        "backbone": "dit",
        "shape": [1, 8, 8],
        "classes": 3,
        "outputs": 1,
        "patch": 2,
        "d_model": 16,
        "depth": 1,
        "heads": 2,
    }
    made = sl.wrap(
        network(described(shape | {"mlp_ratio": 2.0, "dropout": 0.0})), (1, 8, 8), timesteps=20, classes=["a", "b", "c"]
    )
    made.network.eval()
    return made


def test_labels_are_names_or_numbers_or_how_many() -> None:
    model = conditional()
    by_name = sl.draw(model, ["b", "c"], steps=3, seed=5)
    assert torch.equal(by_name, sl.draw(model, [1, 2], steps=3, seed=5))
    assert torch.equal(by_name, sl.draw(model, torch.tensor([1, 2]), steps=3, seed=5))
    assert sl.draw(model, 7, steps=2).shape == (7, 1, 8, 8)
    for labels, said in (
        (["d"], "does not know the class d"),
        ([3], "no class of number 3"),
        ([-1], "no class of number -1"),
    ):
        with pytest.raises(UserError, match=said):
            sl.draw(model, labels, steps=3)


def test_it_draws_what_the_package_draws() -> None:
    model = conditional()
    condition = {"labels": torch.tensor([0, 2])}
    expected = drawing.draw(model.network, model.description, condition, 4, Sampling(sampler="heun"), seed=9)
    assert torch.equal(sl.draw(model, [0, 2], steps=4, seed=9, sampler="heun"), expected)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: sl.draw(conditional(), 2, steps=21), "S=21 sampling steps given for a model of T=20"),
        (lambda: sl.draw(conditional(), 2, steps=2, sampler="eulre"), "sampling.sampler"),
        (lambda: sl.wrap(torch.nn.Identity(), (1, 8, 8), process="edm", prediction="eps"), "target of its own"),
        (lambda: sl.wrap(torch.nn.Identity(), (1, 8, 8), schedule="cosinus"), "diffusion.schedule"),
        (lambda: sl.process("dicsrete"), "no process 'dicsrete'; there are: discrete"),
        (lambda: sl.schedule("cosinus", 10), "no schedule 'cosinus'"),
        (lambda: sl.load("nowhere"), "nowhere holds no diffusion model"),
        (lambda: sl.pictures("nowhere"), "nowhere"),
    ],
)
def test_what_cannot_be_is_one_sentence(call, said: str) -> None:
    with pytest.raises(UserError, match=said) as refused:
        call()
    assert "\n" not in str(refused.value)

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from stepladder import history
from stepladder.cli import main
from stepladder.data.image_arrays import ImageArrays
from stepladder.data.preparing.images import prepare_own
from stepladder.diffusion import adaptation, lora, requests
from stepladder.diffusion.networks.backbones import build
from stepladder.diffusion.networks.description import Adapted
from stepladder.diffusion.sampling.drawing import load
from stepladder.diffusion.training import task
from stepladder.errors import UserError
from stepladder.evaluation import feature_task
from stepladder.evaluation.adaptation import evaluate
from stepladder.launching.launch import identity
from stepladder.params import Diffusion, Training, render
from stepladder.training import checkpoint, worker
from tests.describing import changed, described_model
from tests.digits import log_nothing, loss, params, prepared, save, trained

CLASSES = [str(digit) for digit in range(10)]


def own_folder(folder, classes=("",), count=20, size=(20, 14)):
    """Pictures of stripes, in RGB, of another size than the digits."""
    random = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            stripes = np.zeros((*size[::-1], 3), dtype=np.uint8)
            stripes[:: 4 + (name == "crosses")] = random.integers(150, 255)
            Image.fromarray(stripes).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A model of the digits that takes seconds, its weights all different from zero."""
    torch.manual_seed(0)
    made = trained(task.experiment(params(), prepared(), timesteps=20), 30)
    for parameter in made.task.parameters():
        parameter.data += 0.02 * torch.randn(parameter.shape)
    return save(made, tmp_path_factory.mktemp("base") / "T20")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    prepare_own(settings(None, pictures=str(own_folder(folder / "stripes"))), [1, 8, 8], folder / "prepared")
    return folder / "prepared"


def settings(base, **section):
    training = {"steps": 8, "batch_size": 8, "warmup_steps": 1, "validate_every": 8} | section.pop("training", {})
    chosen = {"model": str(base), "rank": 2, "training": training} | section
    return params(adaptation=chosen, evaluation={"samples": 40, "bootstrap": 10})


def spec(folder, base, data, **section):
    folder.mkdir()
    values = settings(base, **section).model_dump(mode="json")
    content = {"family": "adapted", "name": "adapted", "params": values, "timesteps": None, "data": str(data)}
    (folder / "spec.json").write_text(json.dumps(content | {"header": {}}))
    return folder


def test_own_pictures_are_brought_to_the_model_s_form(tmp_path):
    given = settings(None, pictures=str(own_folder(tmp_path / "stripes")))
    card = prepare_own(given, [1, 8, 6], tmp_path / "own")
    assert (card["name"], card["shape"], card["classes"]) == ("stripes", [1, 8, 6], [])
    assert card["counts"] == {"train": 16, "test": 4}
    arrays = ImageArrays.open(tmp_path / "own", "train")
    assert arrays.images.shape[1:] == (1, 8, 6)
    assert arrays.images.max() > 50


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"pictures": "nowhere"}, "adaptation.pictures=nowhere is no folder"),
        ({"held_out": 0.01}, "The test split has 1 pictures and needs at least 4 (to judge by)"),
        ({"held_out": 0.9}, "The train split has 3 pictures and needs at least 10 (to learn from)"),
    ],
)
def test_own_pictures_that_do_not_serve_are_refused(tmp_path, section, sentence):
    folder = own_folder(tmp_path / "stripes", count=30)
    with pytest.raises(UserError) as refused:
        prepare_own(settings(None, **({"pictures": str(folder)} | section)), [1, 8, 8], tmp_path / "own")
    assert sentence in str(refused.value)


def test_new_classes_come_after_the_old_ones_and_known_ones_go_on():
    before = described_model({"model": {"classes": 2}, "classes": ["a", "b"], "label_dropout": 0.1})
    card = {"name": "own", "classes": ["b", "c", "d"], "source": "", "content_hash": ""}
    config = adaptation.configuration(before, settings(None).adaptation, card)
    assert config.classes == ("a", "b", "c", "d")
    assert config.model.classes == 4
    assert config.new_classes == ("c", "d")
    assert adaptation.class_numbers(config, card) == [1, 2, 3]
    table = torch.arange(6.0).view(3, 2)
    rows = adaptation.with_new_classes({"label.weight": table}, before, config)["label.weight"]
    assert rows.tolist() == [[0, 1], [2, 3], [4, 5], [4, 5], [4, 5]], "new ones start as no class, which stays the last"
    always = changed(before, label_dropout=0)
    told = adaptation.with_new_classes({"label.weight": table}, always, config)["label.weight"]
    assert told[2:4].tolist() == [[1, 2], [1, 2]]
    flat = adaptation.configuration(before, settings(None).adaptation, card | {"classes": []})
    assert flat.classes == ("a", "b", "own")
    bare = described_model({"label_dropout": 0.1})
    config = adaptation.configuration(bare, settings(None).adaptation, card)
    assert (config.classes, config.model.classes, adaptation.class_numbers(config, card)) == ((), 0, [0, 0, 0])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"process": "edm"},
        {"process": "flow"},
        {"process": "continuous", "prediction": "x0"},
        {"variance": "learned_range", "loss": "hybrid"},
        {"schedule": "betas", "betas": [0.1] * 4},
        {"zero_terminal_snr": True, "schedule": "linear"},
        {"low_resolution": 4},
        {"conditional": False},
        {"backbone": "dit", "dit": {"d_model": 32, "depth": 1, "heads": 2}},
    ],
)
def test_a_model_of_any_kind_goes_on_from_its_own_loss(tmp_path, own, options):
    """At the first step low-rank changes and all weights give what the model itself gives on the same pictures."""
    torch.manual_seed(0)
    given = params(diffusion=options, sweep={"timesteps": [4], "sampling_steps": [4]})
    made = task.experiment(given, prepared(), timesteps=4)
    for parameter in made.task.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    folder = save(made, tmp_path / "base")
    losses = []
    for method in ("lora", "full"):
        started = adaptation.experiment(settings(folder, method=method), own)
        log_nothing(started)
        started.task.eval()
        losses.append(float(loss(started, started.draw(3)).detach()))
        batch = started.draw(3)
        assert batch["labels"].unique().tolist() == ([10] if made.task.description.classes else [0])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert np.isfinite(losses[0])
    same = ("process", "schedule", "prediction", "variance", "timesteps")
    assert all(started.task.description[key] == made.task.description[key] for key in same)


@pytest.mark.parametrize("layers", ["attention", "all"])
def test_the_exported_model_is_the_base_with_the_adapter_worked_in(tmp_path, base, own, layers):
    folder = spec(tmp_path / "a", base, own, layers=layers)
    worker.train(folder)
    made = folder / "model"
    model, config = load(made)
    assert {file.name for file in made.iterdir()} == {
        "model.safetensors", "adapter.safetensors", "config.json", "figures.json",
    }  # fmt: skip
    assert config.classes == (*CLASSES, "stripes")
    before = load(base)[1]
    grown = build(config.model)
    grown.load_state_dict(adaptation.with_new_classes(load_file(base / "model.safetensors"), before, config))
    start = {key: value.clone() for key, value in grown.state_dict().items()}
    first = len(config.classes) - len(config.new_classes)
    again = lora.apply(grown, load_file(made / "adapter.safetensors"), first).state_dict()
    for key, value in model.state_dict().items():
        torch.testing.assert_close(again[key], value, atol=1e-6, rtol=1e-5)
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, start[key])}
    expected = {f"{name}.weight" for name, _ in lora.targets(build(config.model), layers)}
    assert changed == expected | {"label.weight"}
    moved = (model.state_dict()["label.weight"] - start["label.weight"]).abs().sum(1) > 0
    assert moved.tolist() == [False] * 10 + [True, False], "old classes and no class keep their rows"
    figures = json.loads((made / "figures.json").read_text())
    adapters = sum(value.numel() for value in load_file(made / "adapter.safetensors").values())
    assert figures["trained_parameters"] == adapters < 0.5 * figures["parameters"]
    assert figures["parameters"] == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("method", ["lora", "full"])
def test_resumed_it_ends_with_the_same_bits(tmp_path, base, own, method, monkeypatch):
    section = {"method": method, "unfreeze": ["middle", "down"]}
    whole = spec(tmp_path / "whole", base, own, **section)
    worker.train(whole)
    broken = spec(tmp_path / "broken", base, own, **section)
    training_step, dead = task.DiffusionTask.training_step, [3]

    def dying(self, batch, batch_idx):
        if batch["position"] in dead:
            raise RuntimeError("killed by the test")
        return training_step(self, batch, batch_idx)

    monkeypatch.setattr(task.DiffusionTask, "training_step", dying)
    with pytest.raises(RuntimeError, match="killed by the test"):
        worker.train(broken)
    assert checkpoint.finished_steps(broken / "last.ckpt") == 3
    dead.clear()
    worker.train(broken)
    expected, got = (load_file(folder / "model" / "model.safetensors") for folder in (whole, broken))
    assert all(torch.equal(expected[name], got[name]) for name in expected)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_new_class_is_learned(base, own, method):
    chosen = settings(base, method=method, layers="all", rank=4)
    started = adaptation.experiment(chosen, own)
    log_nothing(started)
    before = np.mean([float(loss(started, started.draw(k)).detach()) for k in range(1000, 1004)])
    trained(started, 40)
    after = np.mean([float(loss(started, started.draw(k)).detach()) for k in range(1000, 1004)])
    assert after < 0.8 * before


def test_the_same_training_is_that_from_the_same_weights_wherever_they_are(tmp_path, base, own):
    shutil.copytree(base, tmp_path / "elsewhere")
    shutil.copytree(base, tmp_path / "other")
    changed = load_file(base / "model.safetensors")
    changed["head.bias"] += 1
    from safetensors.torch import save_file

    save_file(changed, tmp_path / "other" / "model.safetensors")
    here, elsewhere, other = (
        identity("adapted", settings(folder), own) for folder in (base, tmp_path / "elsewhere", tmp_path / "other")
    )
    assert here == elsewhere
    assert here != other
    assert here != identity("adapted", settings(base, method="full"), own)


def test_what_does_not_fit_is_refused(tmp_path, base, own):
    with pytest.raises(UserError, match="holds no diffusion model that can be loaded"):
        adaptation.experiment(settings(tmp_path), own)
    wide = settings(None, pictures=str(own_folder(tmp_path / "stripes")))
    prepare_own(wide, [1, 8, 6], tmp_path / "wide")
    with pytest.raises(UserError, match="prepared as 1 x 8 x 6 and the model"):
        adaptation.experiment(settings(base), tmp_path / "wide")
    with pytest.raises(UserError, match="for 3 devices"):
        adaptation.experiment(settings(base), own, world_size=3)


def test_full_has_its_own_learning_rate():
    section = settings(None, method="full", full_learning_rate=1e-4, training={"learning_rate": 1e-2}).adaptation
    assert section.method_training.learning_rate == 1e-4
    assert section.model_copy(update={"method": "lora"}).method_training.learning_rate == 1e-2


def test_edm_goes_on_at_its_published_levels():
    given: Diffusion = adaptation.objective(described_model({"process": "edm", "label_dropout": 0.1}), Training())
    assert (given.time_sampling, given.time_mean, given.time_std) == ("log_normal", -1.2, 1.2)


def test_a_class_learned_without_texts_is_asked_for_without_one():
    model = {"vocabulary": 9, "text_length": 4}
    config = described_model({"classes": ["noto", "mine"], "label_dropout": 0.1, "model": model})

    class Tokenizer:
        def encode_batch(self, texts, **_):
            raise AssertionError("not reached")

    with pytest.raises(UserError, match="a class and a text together"):
        requests.condition(config, Tokenizer(), ["mine"], [""])
    adapted = changed(config, adapted=Adapted(method="full", new_classes=("mine",)))
    with pytest.raises(UserError, match="a class and a text together"):
        requests.condition(adapted, Tokenizer(), ["noto"], [""])
    with pytest.raises(AssertionError, match="not reached"):
        requests.condition(adapted, Tokenizer(), ["mine"], [""])


def test_before_and_after_are_judged_on_new_and_old_pictures(tmp_path, base, own):
    torch.manual_seed(0)
    save(trained(feature_task.experiment(params(), prepared()), 40), tmp_path / "feature-net")
    worker.train(spec(tmp_path / "a", base, own))
    folders = prepared(), own, tmp_path / "feature-net"
    for name, model in (("before", base), ("lora", tmp_path / "a" / "model")):
        metrics = evaluate(settings(base), *folders, model, tmp_path / name)
        assert {file.name for file in (tmp_path / name).iterdir()} == {"metrics.json", "new.png", "old.png"}
        assert json.loads((tmp_path / name / "metrics.json").read_text()) == metrics
        assert {"frechet", "recognised", "recognised_low", "memorised"} <= set(metrics["new"])
        assert {"frechet", "accuracy"} <= set(metrics["old"])
        assert metrics["floor"]["new"]["recognised"] > 0.9, "stripes are no digits"
        assert bool(metrics["adapted"]) == (name == "lora")


def test_the_commands(tmp_path, base, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STEPLADDER_TRACKING", "journal")
    own_folder(tmp_path / "marks", classes=("3", "crosses"))
    training = {"steps": 4, "batch_size": 8, "warmup_steps": 1, "validate_every": 4}
    chosen = {"model": str(base), "pictures": "marks", "rank": 2, "training": training}
    (tmp_path / "params.yaml").write_text(render(params(adaptation=chosen)))
    assert main(["prepare", "own"]) == 0
    assert capsys.readouterr().out.startswith("marks: ")
    assert main(["adapt"]) == 0
    assert main(["adapt", "--method", "full", "--out", "mine"]) == 0
    for folder in ("models/adapted/lora", "mine"):
        _, config = load(tmp_path / folder)
        assert config.classes == (*CLASSES, "crosses")
        assert history.key(tmp_path / folder)
    assert not (tmp_path / "mine" / "adapter.safetensors").exists()
    sample = ["sample", "--model", "mine", "--label", "crosses", "--label", "3", "--count", "2", "--steps", "2"]
    assert main(sample) == 0
    assert main(["adapt", "--model", "nowhere"]) == 2
    assert "nowhere is not a folder" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "full"])
def test_two_ranks_adapt_as_one_does(tmp_path, base, own, method):
    """Real processes: low-rank changes, and parts that are frozen at first, under DDP."""
    section = {"method": method, "unfreeze": ["middle", "down"]}
    made = []
    for ranks in ("1", "2"):
        folder = spec(tmp_path / ranks, base, own, **section)
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
        done = subprocess.run(
            [*command, "-m", "stepladder.training.worker", str(folder)],
            capture_output=True, text=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        made.append(load_file(folder / "model" / "model.safetensors"))
    for name, value in made[0].items():
        torch.testing.assert_close(made[1][name], value, atol=2e-3, rtol=1e-2)

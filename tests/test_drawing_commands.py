"""`stepladder sample`, `inpaint` and `upscale`, as they are typed."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from stepladder.cli import main
from stepladder.data import texts
from stepladder.diffusion.training.task import experiment
from tests.digits import params, prepared, save


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return made(tmp_path_factory.mktemp("models") / "T20")


def made(folder, **diffusion):
    task = experiment(params(diffusion=diffusion), prepared(), timesteps=20)
    torch.manual_seed(2)
    for parameter in task.task.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return save(task, folder)


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def refused(capsys, *command):
    capsys.readouterr()
    assert main([str(part) for part in command]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err


def pixels(name):
    return np.asarray(Image.open(name))


def test_sample_draws_as_the_options_say(model, capsys):
    command = ["sample", "--model", str(model), "--style", "3", "--count", "2", "--steps", "2", "--seed", "1"]
    options = ["--sampler", "ddim", "--spacing", "linspace", "--scale", "2", "-S", "sampling.eta=0.5"]
    assert main([*command, *options]) == 0
    said = capsys.readouterr().out
    assert said.startswith("samples.png: 2 pictures in S=2 of T=20 steps, {")
    how = json.loads(said[said.index("{") :])
    assert (how["sampler"], how["spacing"], how["guidance_scale"], how["eta"]) == ("ddim", "linspace", 2.0, 0.5)
    assert main([*command, *options[:-2], "--out", "other.png"]) == 0
    assert (pixels("samples.png") != pixels("other.png")).any(), "the override counts"
    assert main([*command[:3], "--label", "3", *command[5:], *options, "--out", "again.png"]) == 0
    assert (pixels("samples.png") == pixels("again.png")).all(), "--style is --label"


def test_sample_refuses_what_the_model_does_not_know(model, capsys):
    command = ["sample", "--model", model]
    assert "does not know the class noto; it knows: 0, 1" in refused(capsys, *command, "--style", "noto")
    assert "knows no text" in refused(capsys, *command, "--text", "grinning cat")
    assert "sampler" in refused(capsys, *command, "--sampler", "best")
    assert "diffusion says nothing of how" in refused(capsys, *command, "-S", "diffusion.flip=true")
    assert "there/no.png cannot be written" in refused(capsys, *command, "--count", "1", "--out", "there/no.png")


def test_inpaint_keeps_what_is_black_in_the_mask(model, capsys):
    digit = np.load(prepared() / "test_images.npy")[5, 0]
    Image.fromarray(digit).save("digit.png")
    painted = np.zeros((8, 8), dtype=np.uint8)
    painted[4:] = 255
    Image.fromarray(painted).save("mask.png")
    command = ["inpaint", "--model", str(model), "--picture", "digit.png", "--mask", "mask.png", "--steps", "4"]
    path = ["--jump", "2", "--resamples", "2", "--label", "5"]
    assert main([*command, *path]) == 0
    assert capsys.readouterr().out.startswith("inpainted.png: 1 pictures in S=4 of T=20 steps")
    whole = pixels("inpainted.png")
    assert whole.shape == (8, 8)
    assert (whole[:4] == digit[:4]).all()
    assert (whole[4:] != digit[4:]).any()
    assert main([*command, *path, "--count", "3", "--out", "three.png"]) == 0
    assert pixels("three.png").shape[1] > 8
    assert "black everywhere" in refused(capsys, *command[:-4], "--mask", black("black.png"))


def black(name, side=8):
    Image.new("L", (side, side)).save(name)
    return name


def test_upscale_needs_a_model_that_learned_it(model, capsys):
    black("small.png")
    assert "enlarges no pictures" in refused(capsys, "upscale", "--model", model, "--pictures", "small.png")


def test_upscale_enlarges_a_picture_or_a_folder_of_them(tmp_path, capsys):
    model = made(tmp_path / "model", low_resolution=4)
    (tmp_path / "small").mkdir()
    digits = np.load(prepared() / "test_images.npy")[:3, 0]
    for i, digit in enumerate(digits):
        Image.fromarray(digit[::2, ::2]).save(f"small/{i}.png")
    command = ["upscale", "--model", str(model), "--steps", "2"]
    assert main([*command, "--pictures", "small/0.png"]) == 0
    assert capsys.readouterr().out.startswith("upscaled.png: 1 pictures in S=2")
    one = pixels("upscaled.png")
    assert one.shape == (8, 8)
    assert main([*command, "--pictures", "small", "--noise", "0.3", "--label", "3", "--out", "all.png"]) == 0
    assert capsys.readouterr().out.startswith("all.png: 3 pictures")
    assert main([*command, "--pictures", "small/1.png", "--out", "another.png"]) == 0
    assert (pixels("another.png") != one).any(), "the small picture counts"
    Image.fromarray(digits[0]).save("large.png")
    assert main([*command, "--pictures", "large.png"]) == 0
    black("tiny.png", 2)
    assert "tiny.png is 2x2 pixels, smaller than the 4x4" in refused(capsys, *command, "--pictures", "tiny.png")
    assert "Noise of 2 given" in refused(capsys, *command, "--pictures", "large.png", "--noise", "2")
    assert "use `stepladder upscale`" in refused(capsys, "sample", "--model", model)


def test_a_text_is_drawn_in_a_style(tmp_path, capsys):
    folder = shutil.copytree(prepared(), tmp_path / "images")
    words = ["a round one", "a straight one"]
    card = json.loads((folder / "card.json").read_text())
    labels = {split: np.load(folder / f"{split}_labels.npy") for split in ("train", "test")}
    rows = {split: [words[label % 2] for label in numbers] for split, numbers in labels.items()}
    card["text"] = texts.write(folder, rows, "name", 64, 8)
    (folder / "card.json").write_text(json.dumps(card))
    spec = {"text": True, "text_encoder": {"d_model": 16, "depth": 1, "heads": 2}}
    trained = experiment(params(images={"text_column": "name"}, diffusion=spec), folder, timesteps=20)
    torch.manual_seed(2)
    for parameter in trained.task.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    model = save(trained, tmp_path / "model")
    for name, file in trained.files.items():
        shutil.copy(file, model / name)
    command = ["sample", "--model", str(model), "--steps", "2", "--scale", "3", "--style", "1", "--count", "2"]
    for text in words:
        assert main([*command, "--text", text, "--out", f"{text}.png"]) == 0
    assert (pixels(f"{words[0]}.png") != pixels(f"{words[1]}.png")).any()
    assert "give both" in refused(capsys, *command)
    (model / "tokenizer.json").unlink()
    assert "tokenizer.json cannot be read" in refused(capsys, *command, "--text", "a cat")

"""`stepladder sample`, `inpaint` and `upscale`, as they are typed."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from stepladder.cli import main
from stepladder.diffusion.task import experiment
from tests.digits import params, prepared, save


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    made = experiment(params(), prepared(), timesteps=20)
    torch.manual_seed(2)
    for parameter in made.task.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return save(made, tmp_path_factory.mktemp("models") / "T20")


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
    made = pixels("inpainted.png")
    assert made.shape == (8, 8)
    assert (made[:4] == digit[:4]).all()
    assert (made[4:] != digit[4:]).any()
    assert main([*command, *path, "--count", "3", "--out", "three.png"]) == 0
    assert pixels("three.png").shape[1] > 8
    assert "black everywhere" in refused(capsys, *command[:-4], "--mask", black("black.png"))


def black(name):
    Image.new("L", (8, 8)).save(name)
    return name


def test_upscale_needs_a_model_that_learned_it(model, capsys):
    black("small.png")
    assert "enlarges no pictures" in refused(capsys, "upscale", "--model", model, "--pictures", "small.png")

import pytest
import torch

from stepladder.diffusion.inpainting import inpaint
from stepladder.diffusion.sampling.drawing import load
from stepladder.diffusion.training.task import experiment
from stepladder.errors import UserError
from stepladder.params import Sampling
from tests.digits import params, prepared, save


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    made = experiment(params(), prepared(), timesteps=20)
    torch.manual_seed(2)
    for parameter in made.task.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return load(save(made, tmp_path_factory.mktemp("models") / "T20"))


KNOWN = torch.linspace(-1, 1, 64).view(1, 8, 8)
MASK = torch.ones(8, 8, dtype=torch.bool).triu()


def drawn(model, labels=(3, 3, 4), **options):
    usual = {"seed": 1, "jump": 2, "resamples": 3, "steps": 5, "sampling": Sampling()} | options
    steps, sampling = usual.pop("steps"), usual.pop("sampling")
    return inpaint(*model, {"labels": torch.tensor(labels)}, KNOWN, MASK, steps, sampling, **usual)


def test_the_known_part_is_kept_exactly_and_the_rest_drawn(model):
    pictures = drawn(model)
    assert pictures.shape == (3, 1, 8, 8)
    assert pictures.abs().max() <= 1
    assert (pictures[:, :, MASK] == KNOWN[:, MASK]).all()
    assert (pictures[0] - pictures[1]).abs()[:, ~MASK].mean() > 0.01
    assert (drawn(model, seed=2) - pictures)[:, :, ~MASK].abs().mean() > 0.01


def test_a_picture_depends_on_its_own_row_only(model):
    pictures = drawn(model)
    torch.testing.assert_close(drawn(model, labels=[3]), pictures[:1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(drawn(model), pictures, rtol=0, atol=0)


def test_guidance_counts(model):
    guided = drawn(model, sampling=Sampling(guidance_scale=4.0))
    assert (guided - drawn(model))[:, :, ~MASK].abs().mean() > 1e-3


@pytest.mark.parametrize(
    ("options", "sentence"),
    [({"jump": 0}, "jump of 0 levels"), ({"resamples": 0}, "0 resamples"), ({"steps": 21}, "S=21")],
)
def test_impossible_paths_are_refused(model, options, sentence):
    with pytest.raises(UserError, match=sentence):
        drawn(model, **options)

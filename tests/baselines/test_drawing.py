import pytest
import torch

from stepladder.baselines import drawing, gan, vae
from stepladder.errors import UserError
from tests.digits import params, prepared, save

SMALL = {"latent": 6, "channels": 8, "channel_mult": [1, 2]}


def saved(family, folder):
    experiment = {"vae": vae, "gan": gan}[family].experiment(params(**{family: SMALL}), prepared())
    return experiment, save(experiment, folder / family)


@pytest.mark.parametrize("family", ["vae", "gan"])
def test_a_saved_model_draws_as_it_did(family, tmp_path):
    experiment, folder = saved(family, tmp_path)
    model, config = drawing.load(folder)
    assert config.family == family
    condition = {"labels": torch.arange(7)}
    pictures = drawing.draw(model, config, condition, seed=3)
    assert pictures.shape == (7, 1, 8, 8)
    assert pictures.abs().max() <= 1
    assert torch.equal(pictures, drawing.draw(experiment.task.model, experiment.task.description, condition, seed=3))
    assert not torch.equal(pictures, drawing.draw(model, config, condition, seed=4))


@pytest.mark.parametrize("family", ["vae", "gan"])
def test_a_picture_depends_on_its_number_and_label_only(family, tmp_path):
    model, config = drawing.load(saved(family, tmp_path)[1])
    labels = torch.tensor([1, 2, 3, 4, 5])
    whole = drawing.draw(model, config, {"labels": labels})
    torch.testing.assert_close(drawing.draw(model, config, {"labels": labels}, batch_size=2), whole)
    torch.testing.assert_close(drawing.draw(model, config, {"labels": labels[:3]}), whole[:3])
    others = drawing.draw(model, config, {"labels": torch.tensor([1, 2, 9, 4, 5])})
    differs = (others - whole).abs().flatten(1).amax(1) > 1e-4
    assert differs.tolist() == [False, False, True, False, False]


def test_no_labels_give_no_pictures(tmp_path):
    model, config = drawing.load(saved("gan", tmp_path)[1])
    assert drawing.draw(model, config, {"labels": torch.zeros(0, dtype=torch.long)}).shape == (0, 1, 8, 8)


def test_a_folder_without_such_a_model_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no generator of a GAN or variational autoencoder that can be loaded"):
        drawing.load(tmp_path)
    (tmp_path / "config.json").write_text('{"family": "diffusion", "model": {}}')
    with pytest.raises(UserError, match="holds no generator of a GAN or variational autoencoder that can be loaded"):
        drawing.load(tmp_path)

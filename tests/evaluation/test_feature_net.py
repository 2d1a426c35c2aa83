import json
import shutil

import numpy as np
import pytest
import torch

from stepladder.data.image_arrays import ImageArrays
from stepladder.errors import UserError
from stepladder.evaluation.feature_task import _shifted, _turn, experiment
from stepladder.evaluation.pictures.feature_net import load
from stepladder.evaluation.pictures.features import judge
from tests.digits import log_nothing, loss, params, prepared, save, trained, without_classes


@pytest.fixture(scope="module")
def learned():
    torch.manual_seed(0)
    return trained(experiment(params(), prepared()), 60)


@pytest.fixture(scope="module")
def folder(learned, tmp_path_factory):
    return save(learned, tmp_path_factory.mktemp("models") / "feature-net")


def held_out():
    test = ImageArrays.open(prepared(), "test")
    return torch.from_numpy(np.array(test.images)).float() / 127.5 - 1, test.labels


def test_sixty_steps_tell_digits_apart(learned):
    logged = log_nothing(learned)
    for i, batch in enumerate(learned.validation):
        learned.task.validation_step(batch, i)
    assert np.mean(logged["validation/accuracy"]) > 0.9
    assert sum(len(batch["labels"]) for batch in learned.validation) == len(held_out()[1])


def test_the_judge_gives_features_and_verdicts(folder):
    pictures, labels = held_out()
    features, verdicts = judge(folder)(pictures)
    assert features.shape == (len(labels), 32)
    assert features.dtype == np.float64
    assert (verdicts == labels).mean() > 0.9
    few, _ = judge(folder)(pictures[:5])
    np.testing.assert_allclose(few, features[:5], rtol=1e-4, atol=1e-5)


def test_without_classes_it_learns_which_way_up(tmp_path):
    torch.manual_seed(0)
    made = trained(experiment(params(), without_classes(tmp_path / "images")), 40)
    assert made.task.description.classes == ()
    logged = log_nothing(made)
    for i, batch in enumerate(made.validation):
        made.task.validation_step(batch, i)
    assert np.mean(logged["validation/accuracy"]) > 0.4


@pytest.mark.parametrize("shape", [(1, 3, 3), (3, 2, 4)])
def test_four_different_turns_that_keep_the_shape(shape):
    x = torch.arange(np.prod(shape)).view(1, *shape)
    turns = [_turn(x, k) for k in range(4)]
    assert all(turned.shape == x.shape for turned in turns)
    assert len({str(turned.tolist()) for turned in turns}) == 4
    assert (turns[0] == x).all()


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 16)])
def test_shifts_are_up_to_an_eighth(shape):
    """Of a picture of its own coordinates the middle shows how far it was moved."""
    channels, h, w = shape
    rows = torch.arange(h)[:, None].expand(h, w)
    columns = torch.arange(w).expand(h, w)
    for coordinates, middle in ((rows, h // 2), (columns, w // 2)):
        x = coordinates.float().expand(200, channels, h, w)
        reach = max(1, h // 8)
        shifts = torch.randint(-reach, reach + 1, (200,))
        moved = _shifted(x, shifts, shifts)[:, 0, h // 2, w // 2] - middle
        assert torch.equal(moved.long(), shifts)
    assert _shifted(torch.zeros(2, *shape), shifts[:2], shifts[:2]).shape == (2, *shape)


@pytest.mark.parametrize("classes", [True, False])
def test_the_number_of_ranks_changes_neither_the_loss_nor_the_validation(tmp_path, classes):
    data = prepared() if classes else without_classes(tmp_path / "images")

    def made(rank=0, world_size=1):
        torch.manual_seed(0)
        e = experiment(params(), data, rank=rank, world_size=world_size)
        e.task.eval()
        return e, log_nothing(e)

    (whole, told), *ranks = made(), made(0, 2), made(1, 2)
    for position in (0, 1, 7):
        expected = loss(whole, whole.draw(position))
        parts = torch.stack([loss(rank, rank.draw(position)) for rank, _ in ranks])
        torch.testing.assert_close(parts.mean(), expected)
    sums = []
    for e, logged in ((whole, told), *ranks):
        for i, batch in enumerate(e.validation):
            e.task.validation_step(batch, i)
        right = logged["validation/accuracy"]
        sums.append(sum(share * len(b["labels"]) for share, b in zip(right, e.validation, strict=True)))
    assert sums[1] + sums[2] == pytest.approx(sums[0])


def test_a_position_gives_the_same_loss_again(tmp_path):
    made = experiment(params(), prepared())
    log_nothing(made)
    made.task.eval()
    assert loss(made, made.draw(3)).item() == loss(made, made.draw(3)).item()
    assert made.draw(3)["position"] == 3


def test_bad_input_is_refused_in_a_sentence(folder, tmp_path):
    with pytest.raises(UserError, match=r"width=18 is not a multiple of 4"):
        experiment(params(feature_net={"width": 18}), prepared())
    with pytest.raises(UserError, match="holds no feature network that can be loaded"):
        load(tmp_path)
    for name, content in (
        ("model.safetensors", b"damaged"),
        ("config.json", b"[]"),
        ("config.json", json.dumps({"model": {"a": 1}}).encode()),
    ):
        copy = tmp_path / "copy"
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        (copy / name).write_bytes(content)
        with pytest.raises(UserError, match="holds no feature network that can be loaded"):
            load(copy)

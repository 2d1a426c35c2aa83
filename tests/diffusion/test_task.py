import pytest
import torch

from stepladder.data.images import ImageArrays
from stepladder.diffusion.task import experiment
from stepladder.errors import UserError
from tests.digits import log_nothing, loss, params, prepared, trained, without_classes


def made(rank=0, world_size=1, timesteps=10, **diffusion):
    section = params().diffusion.model_dump() | diffusion
    made = experiment(params(diffusion=section), prepared(), rank=rank, world_size=world_size, timesteps=timesteps)
    log_nothing(made)
    return made


def awake(*experiments):
    """The same weights in all, none of them zero."""
    torch.manual_seed(1)
    for parameter in experiments[0].task.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    for other in experiments[1:]:
        other.task.load_state_dict(experiments[0].task.state_dict())


@pytest.mark.parametrize("world_size", [2, 4])
@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_the_number_of_ranks_does_not_change_the_loss(world_size, prediction):
    options = {"prediction": prediction, "label_dropout": 0.3, "flip": True}
    whole = made(**options)
    ranks = [made(rank, world_size, **options) for rank in range(world_size)]
    awake(whole, *ranks)
    for position in (0, 7, 100):
        parts = [loss(rank, rank.draw(position)) for rank in ranks]
        assert all(len(rank.draw(position)["labels"]) == 32 // world_size for rank in ranks)
        torch.testing.assert_close(torch.stack(parts).mean(), loss(whole, whole.draw(position)), rtol=1e-4, atol=1e-5)


def test_the_number_of_ranks_does_not_change_the_validation():
    whole, ranks = made(), [made(0, 2), made(1, 2)]
    awake(whole, *ranks)
    logs = [log_nothing(e) for e in (whole, *ranks)]
    for e in (whole, *ranks):
        for i, batch in enumerate(e.validation):
            e.task.validation_step(batch, i)
    sizes = [[len(batch["labels"]) for batch in e.validation] for e in (whole, *ranks)]
    assert sum(sizes[0]) == len(ImageArrays.open(prepared(), "test").labels) == sum(sizes[1]) + sum(sizes[2])
    mean = sum(
        n * v
        for log, s in zip(logs[1:], sizes[1:], strict=True)
        for n, v in zip(s, log["validation/loss"], strict=True)
    )
    expected = sum(n * v for n, v in zip(sizes[0], logs[0]["validation/loss"], strict=True))
    assert mean == pytest.approx(expected, rel=1e-4)


def test_a_position_gives_the_same_batch_and_the_same_loss_again():
    first, again = made(), made()
    awake(first, again)
    torch.testing.assert_close(first.draw(5)["images"], again.draw(5)["images"])
    assert loss(first, first.draw(5)).item() == loss(again, again.draw(5)).item()
    assert loss(first, first.draw(5)).item() != loss(first, first.draw(6)).item()
    assert first.draw(5)["position"] == 5


def test_at_the_start_the_loss_is_the_target_s_power():
    assert loss(made(prediction="eps"), made().draw(0)).item() == pytest.approx(1, abs=0.1)


def test_loss_falls_in_a_few_steps():
    before = made(prediction="v", timesteps=50)
    start = loss(before, before.draw(1000)).item()
    after = trained(before, 30)
    assert loss(after, after.draw(1000)).item() < 0.6 * start


def test_hidden_labels_reach_the_network_as_no_class():
    hidden = made(label_dropout=1.0)
    seen = []
    hidden.task.model.register_forward_hook(lambda module, given, output: seen.append(given))
    loss(hidden, hidden.draw(0))
    x, time, condition = seen[0]
    assert set(condition["labels"].tolist()) == {10}
    assert ((time > 0) & (time <= 1)).all()
    assert x.dtype == torch.float32


def test_data_without_classes_makes_an_unconditional_model(tmp_path):
    folder = without_classes(tmp_path / "images")
    unconditional = experiment(params(), folder, timesteps=5)
    log_nothing(unconditional)
    assert unconditional.task.config["classes"] == []
    assert unconditional.task.model.label is None
    assert loss(unconditional, unconditional.draw(0)).isfinite()


def test_preview_is_forty_pictures():
    picture = made().task.eval().preview()
    assert picture.size[0] / picture.size[1] == pytest.approx(10 / 4, rel=0.02)


def test_bad_input_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(UserError, match="--timesteps T"):
        experiment(params(), prepared())
    with pytest.raises(UserError, match="no prepared data"):
        experiment(params(), tmp_path, timesteps=10)
    for training, world_size in (({"batch_size": 32, "accumulate": 5}, 1), ({"batch_size": 32}, 3)):
        with pytest.raises(UserError, match=r"batch_size=32 cannot be divided"):
            made(0, world_size, training=training)

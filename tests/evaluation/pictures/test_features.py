import pytest
import torch
from torch import nn

from stepladder.errors import UserError
from stepladder.evaluation import feature_task
from stepladder.evaluation.pictures import feature_net
from stepladder.evaluation.pictures.features import judge
from tests.digits import params, prepared, save


class Means(nn.Module):
    """In the place of Inception: mean of each channel, and of the left half."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[1:] == (3, 299, 299)
        return torch.cat([x.mean((2, 3)), x[:, :1, :, :149].mean((2, 3))], dim=1)


class Nested(nn.Module):
    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [x.mean((2, 3))]


class Map(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :1]


def scripted(network: nn.Module, file) -> str:
    torch.jit.script(network).save(str(file))
    return str(file)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    return save(feature_task.experiment(params(), prepared()), tmp_path_factory.mktemp("models") / "feature-net")


def test_features_and_verdicts_are_those_of_the_network_in_batches(folder):
    pictures = torch.rand(700, 1, 8, 8) * 2 - 1
    features, verdicts = judge(folder)(pictures)
    network, _ = feature_net.load(folder)
    with torch.inference_mode():
        expected, logits = network(pictures)
    assert features.dtype == "float64"
    torch.testing.assert_close(torch.from_numpy(features), expected.double(), rtol=1e-4, atol=1e-5)
    assert (torch.from_numpy(verdicts) == logits.argmax(1)).all()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_features_of_a_file_of_the_users(folder, tmp_path, channels, monkeypatch):
    network, _ = feature_net.load(folder)
    monkeypatch.setattr(feature_net, "load", lambda _: (_Any(network), {}))
    pictures = torch.linspace(-0.8, 0.8, 3)[:, None, None, None].expand(3, channels, 8, 8)
    features, verdicts = judge(folder, scripted(Means(), tmp_path / "means.pt"))(pictures)
    torch.testing.assert_close(features, pictures[:, :1, 0, 0].double().expand(3, 4).numpy(), rtol=1e-4, atol=1e-4)
    assert verdicts.shape == (3,)


class _Any(nn.Module):
    """The digits' network for pictures of any number of channels."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.network(x[:, :1])


@pytest.mark.parametrize(
    ("network", "sentence"), [(Nested(), "gives a list for two pictures"), (Map(), r"gives shape \(2, 1, 299, 299\)")]
)
def test_a_network_that_gives_no_features_is_refused(folder, tmp_path, network, sentence):
    with pytest.raises(UserError, match=sentence):
        judge(folder, scripted(network, tmp_path / "other.pt"))


def test_a_network_of_other_pictures_is_refused(folder, tmp_path):
    with pytest.raises(UserError, match=r"other\.pt cannot be used"):
        judge(folder, scripted(nn.Conv2d(7, 1, 3), tmp_path / "other.pt"))


def test_a_file_that_is_not_there_or_not_torchscript_is_refused(folder, tmp_path):
    with pytest.raises(UserError, match=r"none\.pt cannot be used"):
        judge(folder, str(tmp_path / "none.pt"))
    (tmp_path / "text.pt").write_text("not a network")
    with pytest.raises(UserError, match="leave it empty to use this data's feature network"):
        judge(folder, str(tmp_path / "text.pt"))


def test_a_feature_network_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match="make it with `dvc repro feature-net`"):
        judge(tmp_path)

import json
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from stepladder.cli import main
from stepladder.data.image_arrays import ImageArrays
from stepladder.diffusion import classifier, classifier_task
from stepladder.diffusion.processes.processes import EDM, process_of
from stepladder.diffusion.sampling.drawing import draw
from stepladder.diffusion.training import task
from stepladder.errors import UserError
from stepladder.evaluation import feature_task
from stepladder.evaluation.pictures.images import evaluate
from stepladder.params import Sampling, render
from tests.describing import described, described_model
from tests.digits import log_nothing, loss, params, prepared, save, trained, without_classes

NETWORK = {
    "shape": [1, 8, 8], "channels": 16, "channel_mult": [1, 2], "blocks": 1, "attention_resolutions": [4], "heads": 2,
    "dropout": 0.0, "classes": 3,
}  # fmt: skip
PROCESSES = {
    "cosine": {},
    "own betas": {"schedule": "betas", "betas": [0.1, 0.2, 0.5, 0.9]},
    "own curve": {"schedule": "log_snr", "log_snr": [8, 0, -8]},
    "continuous": {"process": "continuous"},
    "edm": {"process": "edm"},
    "flow": {"process": "flow"},
}


def experiment(data=None, rank=0, world_size=1, **sections):
    return classifier_task.experiment(params(**sections), data or prepared(), rank=rank, world_size=world_size)


@pytest.fixture(scope="module")
def learned():
    torch.manual_seed(0)
    return trained(experiment(noisy_classifier={"training": {"batch_size": 64}}), 150)


def noise_levels(config, u):
    found = process_of(described(config)).levels_of_every_t(u)
    return found.alphas, found.sigmas, found.times


def accuracy(network, time):
    """On held-out digits at one noise level of the cosine schedule."""
    test = ImageArrays.open(prepared(), "test")
    x_0 = torch.from_numpy(np.array(test.images)).float() / 127.5 - 1
    alpha, sigma, told = noise_levels({"schedule": "cosine"}, np.array([time]))
    eps = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = network(float(alpha[0]) * x_0 + float(sigma[0]) * eps, torch.full((len(x_0),), float(told[0])))
    return float((logits.argmax(1).numpy() == test.labels).mean())


def test_it_is_sure_where_there_is_little_noise_and_guesses_where_there_is_nothing_but(learned):
    found = [accuracy(learned.task.model.eval(), time) for time in (0.05, 0.5, 0.98)]
    assert found[0] > 0.9
    assert found[0] > found[1] > 0.3
    assert abs(found[2] - 0.1) < 0.1


@given(timesteps=st.integers(1, 1000), name=st.sampled_from(["linear", "cosine", "laplace"]), part=st.floats(0, 0.999))
def test_its_levels_are_those_of_a_chain_of_any_T(timesteps, name, part):
    """At time (t + 1) / T it is trained at the very level that step t has."""
    chain = process_of(described({"process": "discrete", "schedule": name, "timesteps": timesteps})).levels(timesteps)
    row = int(part * timesteps)
    alpha, sigma, time = noise_levels({"schedule": name}, chain.times[row : row + 1])
    assert time[0] == chain.times[row]
    if chain.times[row] < 1:  # cosine's last beta is cut
        np.testing.assert_allclose([alpha[0], sigma[0]], [chain.alphas[row], chain.sigmas[row]], atol=1e-6)


def test_a_table_of_betas_and_a_terminal_without_signal_are_followed():
    config = {"schedule": "betas", "betas": [0.1, 0.2, 0.5, 0.9]}
    alpha, sigma, time = noise_levels(config, np.array([0.0, 0.3, 0.5, 0.99]))
    np.testing.assert_allclose(time, [0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(alpha**2, np.cumprod([0.9, 0.8, 0.5, 0.1]))
    np.testing.assert_allclose(alpha**2 + sigma**2, 1)
    config = {"schedule": "scaled_linear", "zero_terminal_snr": True}
    chain = process_of(described(config | {"process": "discrete", "timesteps": 4000})).levels(4000)
    alpha, sigma, _ = noise_levels(config, chain.times)
    np.testing.assert_allclose(alpha, chain.alphas, atol=1e-3)
    np.testing.assert_allclose(alpha**2 + sigma**2, 1)


def test_pictures_of_edm_are_brought_to_unit_variance():
    torch.manual_seed(0)
    plain, edm = (classifier.NoisyClassifier(**NETWORK, process=process) for process in ("discrete", "edm"))
    edm.load_state_dict(plain.state_dict())
    x, time = torch.randn(2, 1, 8, 8), torch.tensor([0.0, 1.0])
    sigma = torch.tensor(EDM.sigmas)[:, None, None, None]
    torch.testing.assert_close(edm(x, time), plain(x / (sigma**2 + 0.25).sqrt(), time))


@pytest.mark.parametrize("name", PROCESSES)
def test_at_first_it_knows_nothing_and_then_learns(name):
    torch.manual_seed(0)
    fresh = experiment(diffusion=PROCESSES[name], sweep={"timesteps": [4], "sampling_steps": [4]})
    log_nothing(fresh)
    before = [float(loss(fresh, fresh.draw(1000 + k)).detach()) for k in range(3)]
    assert abs(np.mean(before) - np.log(10)) < 0.4
    trained(fresh, 25)
    assert np.mean([float(loss(fresh, fresh.draw(1000 + k)).detach()) for k in range(3)]) < np.mean(before) - 0.2


def test_ranks_share_the_noise_of_the_whole_batch():
    whole, *parts = experiment(), experiment(rank=0, world_size=2), experiment(rank=1, world_size=2)
    seen = []
    for part in (whole, *parts):
        part.task.model.load_state_dict(whole.task.model.state_dict())
        log_nothing(part)
        part.task.eval()
        seen.append(float(loss(part, part.draw(3)).detach()))
    assert seen[0] == pytest.approx((seen[1] + seen[2]) / 2, rel=1e-5)
    assert seen[1] != pytest.approx(seen[2], rel=1e-3)


def test_a_bad_training_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(UserError, match="have no classes for a noisy classifier"):
        experiment(without_classes(tmp_path / "images"))
    with pytest.raises(UserError, match=r"cannot be halved 4 times; .* shorten noisy_classifier"):
        experiment(noisy_classifier={"channel_mult": [1, 1, 1, 1, 1]})
    with pytest.raises(UserError, match="for 3 devices"):
        experiment(world_size=3)


def test_another_kind_of_noise_or_classes_is_refused(learned, tmp_path):
    folder = save(learned, tmp_path / "classifier")
    same = {"classes": [str(d) for d in range(10)], "schedule": "cosine"}
    model, config = classifier.load(folder, described_model(same))
    assert not model.training
    assert config.family == "noisy-classifier"
    classifier.load(folder, described_model(same | {"classes": []}))
    for change, said in (
        ({"schedule": "linear"}, "schedule cosine and the model has linear"),
        ({"process": "flow"}, "process discrete and the model has flow"),
        ({"classes": ["a"]}, "and the model has ['a']"),
        ({"model": {"shape": [3, 8, 8]}}, "shape [1, 8, 8] and the model has [3, 8, 8]"),
    ):
        with pytest.raises(UserError) as refused:
            classifier.load(folder, described_model(same | change))
        assert said in str(refused.value)
    with pytest.raises(UserError, match="holds no noisy classifier that can be loaded"):
        classifier.load(tmp_path)


def label_free(steps):
    """A model that was never told a class."""
    torch.manual_seed(0)
    return trained(task.experiment(params(diffusion={"conditional": False}), prepared(), timesteps=20), steps)


@pytest.mark.slow
def test_guided_by_it_a_model_without_classes_draws_the_class_that_is_asked_for(learned):
    """Dhariwal and Nichol (2021), section 4; judged by a network that has seen no noise and has no part in the guidance."""
    torch.manual_seed(0)
    judge = trained(feature_task.experiment(params(), prepared()), 200).task.model.eval()
    guided = label_free(250).task
    model, config = guided.model.eval(), guided.description
    guide = learned.task.model.eval()
    labels = torch.arange(10).repeat_interleave(10)
    right = []
    for scale in (0.0, 1.0, 4.0):
        pictures = draw(model, config, {"labels": labels}, 20, Sampling(classifier_scale=scale), classifier=guide)
        with torch.no_grad():
            right.append(float((judge(pictures)[1].argmax(1) == labels).float().mean()))
    assert right[0] < 0.25, "chance"
    assert right[1] > right[0] + 0.2
    assert right[2] > 0.7


def test_the_commands_guide_by_it(learned, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(render(params()))
    save(label_free(5), tmp_path / "model")
    command = ["sample", "--model", "model", "--label", "3", "--count", "2", "--steps", "3"]
    scale = ["-S", "sampling.classifier_scale=2"]
    assert main([*command, *scale]) == 2
    assert "models/noisy-classifier holds no noisy classifier that can be loaded" in capsys.readouterr().err
    save(learned, tmp_path / "models" / "noisy-classifier")
    shutil.move("models/noisy-classifier", "elsewhere")
    assert main([*command, *scale, "--classifier", "elsewhere"]) == 0
    assert '"classifier_scale": 2.0' in capsys.readouterr().out
    guided = (tmp_path / "samples.png").read_bytes()
    assert main([*command[:3], *command[5:], "--seed", "0"]) == 0
    assert guided != (tmp_path / "samples.png").read_bytes()
    assert main([*command, "--classifier", "elsewhere"]) == 2
    assert "add -S sampling.classifier_scale=1" in capsys.readouterr().err


def test_evaluation_guides_by_it_and_says_if_it_is_missing(learned, tmp_path):
    torch.manual_seed(0)
    save(trained(feature_task.experiment(params(), prepared()), 30), tmp_path / "feature-net")
    save(label_free(5), tmp_path / "model")
    guide = save(learned, tmp_path / "guide")
    settings = params(
        sweep={"timesteps": [20], "sampling_steps": [2]},
        evaluation={"samples": 20, "bootstrap": 10, "likelihood_images": 0},
        sampling={"classifier_scale": 3.0},
    )
    folders = prepared(), tmp_path / "feature-net", tmp_path / "model", tmp_path / "out"
    with pytest.raises(UserError, match="missing holds no noisy classifier"):
        evaluate(settings, 20, *folders, classifier=tmp_path / "missing")
    (point,) = evaluate(settings, 20, *folders, classifier=guide)["points"]
    assert point["classifier_scale"] == 3.0
    assert 0 <= point["accuracy"] <= 1, "a model without classes has an accuracy once it is guided to one"
    json.dumps(point)


def test_logits_depend_on_time_and_have_a_gradient_in_the_picture():
    torch.manual_seed(0)
    network = classifier.NoisyClassifier(**NETWORK)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    x = torch.randn(2, 1, 8, 8, requires_grad=True)
    F.cross_entropy(network(x, torch.tensor([0.1, 0.1])), torch.tensor([0, 1])).backward()
    assert (x.grad.abs().sum((1, 2, 3)) > 0).all()
    assert not torch.allclose(network(x, torch.full((2,), 0.1)), network(x, torch.full((2,), 0.9)))

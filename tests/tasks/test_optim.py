import math

import pytest
import torch
from torch import nn

from stepladder.params import Training
from stepladder.tasks.optim import configure, factor


def test_warm_up_is_linear_and_reaches_the_peak():
    training = Training(warmup_steps=10, steps=100)
    assert [factor(k, training) for k in range(10)] == pytest.approx([(k + 1) / 10 for k in range(10)])


def test_cosine_is_that_of_torch():
    training = Training(warmup_steps=0, steps=50, schedule="cosine", learning_rate=0.3)
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.3)
    oracle = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    for step in range(50):
        assert 0.3 * factor(step, training) == pytest.approx(oracle.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        oracle.step()


def test_inverse_sqrt_is_the_published_schedule_scaled_to_its_peak():
    """Vaswani et al. (2017), equation 3: d^-0.5 min(n^-0.5, n w^-1.5)."""
    training = Training(warmup_steps=40, steps=1000, schedule="inverse_sqrt")
    peak = 40**-0.5
    for n in (1, 20, 40, 41, 100, 900):
        published = min(n**-0.5, n * 40**-1.5) / peak
        assert factor(n - 1, training) == pytest.approx(published)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_decays_to_nothing_at_the_last_step_and_never_rises_after_warm_up(schedule):
    training = Training(warmup_steps=5, steps=60, schedule=schedule)
    course = [factor(k, training) for k in range(5, 61)]
    assert course == sorted(course, reverse=True)
    assert math.isclose(course[-1], 0, abs_tol=1e-9)


def test_only_matrices_decay():
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    groups = configure(model, Training(weight_decay=0.1))["optimizer"].param_groups
    decay = {p.ndim: group["weight_decay"] for group in groups for p in group["params"]}
    assert decay == {2: 0.1, 1: 0.0}


def test_lightning_clips_the_gradients_of_the_fused_optimiser_under_autocast():
    from pytorch_lightning.plugins.precision import MixedPrecision

    model = nn.Linear(3, 1)
    optimizer = configure(model, Training())["optimizer"]
    assert optimizer.defaults["fused"]
    model(torch.full((1, 3), 100.0)).sum().backward()
    MixedPrecision("bf16-mixed", "cpu").clip_gradients(optimizer, 1.0)
    assert nn.utils.get_total_norm([p.grad for p in model.parameters()]) == pytest.approx(1.0, rel=1e-5)

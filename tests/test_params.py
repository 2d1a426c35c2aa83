from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stepladder.errors import UserError
from stepladder.params import Params, Sweep, build, flatten, load, merge, presets, render


def test_params_yaml_is_the_rendered_spec():
    text = Path("params.yaml").read_text(encoding="utf-8")
    assert text == render(load())
    assert load() == Params(), "params.yaml holds the defaults"


@pytest.mark.parametrize("name", presets())
def test_presets_are_valid_and_render_to_themselves(name):
    preset = load(preset=name)
    assert build(yaml.safe_load(render(preset))) == preset


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("difusion.schedule=cosine", "difusion is not a parameter; did you mean diffusion?"),
        ("sweep.timestep=[3]", "did you mean sweep.timesteps?"),
        ("sweep.timesteps=[0]", "greater than or equal to 1 (given: 0)"),
        ("sweep.timesteps=ten", "sweep.timesteps"),
        ("sweep.sampling_steps=[5000]", "S=5000, more than the largest T=1000"),
        ("sweep.sampling_steps=[20]", "T=10, at which no S"),
        ("sweep.timesteps=[10, 10]", "names a value twice"),
        ("diffusion.prediction=y", "'eps', 'x0' or 'v' (given: 'y')"),
        ("diffusion.training.steps=many", "valid integer"),
        ("transformer.num_heads=5", "not a multiple"),
        ("diffusion.label_dropout=1.5", "less than or equal to 1"),
    ],
)
def test_bad_values_are_refused_with_key_value_and_what_is_allowed(override, sentence):
    with pytest.raises(UserError) as refused:
        load(overrides=[override])
    assert sentence in str(refused.value)


def test_guidance_needs_a_model_that_also_learned_without_classes():
    with pytest.raises(UserError, match="label_dropout above 0"):
        load(overrides=["diffusion.label_dropout=0", "sampling.guidance_scale=2"])


def test_what_is_no_yaml_or_no_mapping_is_refused(tmp_path):
    for content, sentence in (("a: [1", "is not YAML"), ("- 1\n- 2", "holds a list")):
        (tmp_path / "params.yaml").write_text(content)
        with pytest.raises(UserError, match=sentence):
            load(tmp_path / "params.yaml")
    with pytest.raises(UserError, match="does not exist"):
        load(tmp_path / "absent.yaml")
    with pytest.raises(UserError, match="There is no preset"):
        load(preset="absent")


@given(st.lists(st.integers(1, 4000), min_size=1, max_size=5, unique=True), st.data())
def test_every_sweep_that_is_accepted_has_a_point_at_every_T(timesteps, data):
    steps = data.draw(st.lists(st.integers(1, max(timesteps)), min_size=1, max_size=5, unique=True))
    try:
        sweep = Sweep(timesteps=tuple(timesteps), sampling_steps=tuple(steps))
    except ValueError:
        assert min(steps) > min(timesteps)
    else:
        assert all(any(s <= t for s in sweep.sampling_steps) for t in sweep.timesteps)


def test_merge_changes_leaves_only():
    base = {"a": {"b": 1, "c": 2}, "d": 3}
    assert merge(base, {"a": {"b": 9}}) == {"a": {"b": 9, "c": 2}, "d": 3}
    assert base["a"]["b"] == 1


def test_flatten_names_every_leaf_as_dvc_does():
    leaves = flatten(Params())
    assert leaves["diffusion.unet.channels"] == Params().diffusion.unet.channels
    assert all("." in key or key == "seed" for key in leaves)


def test_a_preset_changes_only_what_it_names():
    quick, default = load(preset="quick"), Params()
    assert quick.transformer.training.learning_rate == default.transformer.training.learning_rate
    assert quick.diffusion.training.batch_size == default.diffusion.training.batch_size
    assert quick.diffusion.training.steps < default.diffusion.training.steps

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


ONE_T = "sweep={timesteps: [50], sampling_steps: [10]}"


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["process=edm", "prediction=eps", ONE_T], "has a target of its own; set prediction to v"),
        (["process=flow", "prediction=x0", ONE_T], "has a target of its own; set prediction to v"),
        (["prediction=eps", "zero_terminal_snr=true"], "says nothing of x_0; predict v or x0"),
        (
            ["process=continuous", "variance=learned_range", "loss=hybrid", ONE_T],
            "set process to discrete, or variance",
        ),
        (["process=flow", "loss=vlb", ONE_T], "terms belong to T steps; set process to discrete, or loss to simple"),
        (["loss=hybrid"], "there is none to train; set variance to learned_range"),
        (["variance=learned_range"], "does not train the variance; set loss to hybrid or vlb"),
        (["variance=learned_range", "loss=vlb", "weighting=p2"], "weights are the bound's own; set weighting to none"),
        (["process=edm", "time_sampling=loss_second_moment", ONE_T], "keeps a history for each of T steps"),
        (["weighting=min_snr", "time_sampling=logit_normal"], "their product is neither; keep one"),
        (["weighting=edm", "time_sampling=log_normal"], "their product is neither; keep one"),
        (
            ["process=continuous", "zero_terminal_snr=true", ONE_T],
            "rescales the table of T steps; set process to discrete",
        ),
        (["zero_terminal_snr=true", "weighting=min_snr"], "it would never be trained; set weighting to none or edm"),
        (["zero_terminal_snr=true", "weighting=p2"], "it would never be trained; set weighting to none or edm"),
        (
            ["zero_terminal_snr=true", "time_sampling=log_normal"],
            "it would never be drawn; choose another time_sampling",
        ),
        (["schedule=log_snr"], "with 0 values in diffusion.log_snr; give values with schedule log_snr"),
        (["log_snr=[5, -5]"], "with 2 values in diffusion.log_snr; give values with schedule log_snr, and only then"),
        (["schedule=log_snr", "log_snr=[5]"], "does not fall; give at least two falling values"),
        (["schedule=log_snr", "log_snr=[5, 5]"], "does not fall; give at least two falling values"),
        (["schedule=log_snr", "log_snr=[500, -5]"], "less than or equal to 20 (given: 500"),
        (["process=edm", "schedule=log_snr", "log_snr=[5, -5]", ONE_T], "has levels of its own; set process to"),
        (["schedule=betas", "betas=[0, 0.5]"], "greater than or equal to 0.000000000001"),
        (["schedule=betas", "betas=[0.1, 1, 0.5]"], "has a 1 before its end"),
        (["schedule=betas", "betas=[0.1, 1]", "prediction=eps"], "betas that end with 1"),
        (["schedule=betas", "betas=[0.1, 0.9]"], "a table of betas is for one T: set sweep.timesteps to [2]"),
        (
            ["schedule=betas", "betas=[0.1, 0.9]", "process=continuous"],
            "is a table of T steps; process continuous needs",
        ),
        (["process=continuous"], "whose one training serves every S; name a single T"),
        (["curriculum=[16, 8]"], "does not grow; name growing sides"),
        (["curriculum=[8, 9]"], "not a multiple of 2, which diffusion.unet.channel_mult asks for"),
        (
            ["curriculum=[8, 10]", "backbone=dit", "dit.patch=4"],
            "not a multiple of 4, which diffusion.dit.patch asks for",
        ),
        (["curriculum=[8, 16]", "low_resolution=8"], "from which pictures are made; start with a larger one"),
        (["curriculum=[8, 32]", "images.size=32"], "curriculum has a side of 32 for pictures of images.size=32"),
        (["low_resolution=32", "images.size=32"], "low_resolution has a side of 32 for pictures of images.size=32"),
        (["text=true"], "needs texts; name their column in images.text_column"),
        (["sampling.variance=learned"], "needs a model that learned it; set diffusion.variance to learned_range"),
        (["sampling.variance=learned", "sampling.sampler=ddim"], "only ancestral uses it"),
        (["sampling.eta=0.5"], "set sampler to ddim, or eta to 0.0"),
        (["sampling.guidance_interval=[0.9, 0.1]"], "is empty; give a smaller time, then a larger one"),
    ],
)
def test_impossible_combinations_are_refused_with_the_reason(overrides, sentence):
    named = [
        o if o.split("=")[0].split(".")[0] in ("sweep", "sampling", "images") else f"diffusion.{o}" for o in overrides
    ]
    with pytest.raises(UserError) as refused:
        load(overrides=named)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    "overrides",
    [
        ["process=edm", "time_sampling=log_normal", "time_mean=-1.2", "time_std=1.2"],
        ["process=flow", "time_sampling=logit_normal"],
        ["process=continuous", "prediction=eps", "weighting=min_snr", "schedule=log_snr", "log_snr=[9, 0, -9]"],
        ["variance=learned_range", "loss=hybrid", "time_sampling=loss_second_moment", "sampling.variance=learned"],
        ["variance=learned_range", "loss=vlb"],
        ["loss=vlb", "prediction=eps"],
        ["zero_terminal_snr=true", "schedule=scaled_linear", "weighting=edm", "prediction=x0"],
        ["schedule=betas", "betas=[0.1, 1]", "sweep.timesteps=[2]", "sweep.sampling_steps=[1, 2]"],
        ["curriculum=[8, 16]", "images.size=32", "low_resolution=4"],
    ],
)
def test_possible_combinations_are_accepted(overrides):
    named = [
        o if o.split("=")[0].split(".")[0] in ("sweep", "sampling", "images") else f"diffusion.{o}" for o in overrides
    ]
    load(overrides=[*([] if any("sweep" in o for o in overrides) else [ONE_T]), *named])


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

"""A preset over the user's own parameters: what it is about is exactly its own, and nothing else is touched."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from stepladder.cli import main
from stepladder.errors import UserError
from stepladder.params import Params, build, flatten, load, parse_overrides, presets, render, resolve
from stepladder.params.preset import overlay, sections_of
from stepladder.params.reading import preset_values

PICTURES = {"images", "feature_net", "sweep", "diffusion", "sampling", "evaluation"}
TEXT = {"text", "transformer"}
OWN = [
    "seed=7", "images.source=own", "images.limit=50", "images.held_out=0.3", "text.source=pairs.tsv", "text.limit=90",
    "text.max_length=64", "feature_net.width=8", "sweep={timesteps: [20, 30], sampling_steps: [2, 4]}",
    "diffusion.label_dropout=0.2", "diffusion.unet.blocks=1", "diffusion.training.gradient_clip=0.5", "diffusion.dit.depth=3",
    "sampling.guidance_scale=1.5", "transformer.d_model=64", "transformer.dropout=0.2", "transformer.training.beta2=0.9",
    "decoding.beam_size=2", "decoding.max_length=60", "evaluation.samples=40", "evaluation.bootstrap=33",
    "promotion.seconds=9", "adaptation.rank=2", "classification.pretraining.steps=9", "noisy_classifier.channels=8",
]  # fmt: skip


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A folder whose parameters are a user's own in every section; their leaves."""
    (tmp_path / "presets").symlink_to(Path("presets").resolve())
    params = load(overrides=OWN)
    (tmp_path / "params.yaml").write_text(render(params))
    monkeypatch.chdir(tmp_path)
    return flatten(params)


def is_in(key: str, sections: list[str]) -> bool:
    return any(key.startswith(f"{section}.") for section in sections)


@pytest.mark.parametrize("name", presets())
def test_written_preset_is_exact_where_it_is_about_and_nowhere_else_and_says_every_change(name, own, capsys):
    assert main(["params", "--preset", name, "--write"]) == 0
    said = capsys.readouterr().out
    after, pure, sections = flatten(load()), flatten(load(preset=name)), sections_of(preset_values(name))
    assert {key: after[key] for key in after if is_in(key, sections)} == {
        key: pure[key] for key in pure if is_in(key, sections)
    }
    untouched = [key for key in own if not is_in(key, sections)]
    assert {key: after[key] for key in untouched} == {key: own[key] for key in untouched}
    changed = {key for key in own if own[key] != after[key]}
    assert {line.split(":")[0].strip() for line in said.splitlines()[1:]} == changed
    assert f"{len(changed)} value" in said.splitlines()[0]
    named = set(flatten_plain(preset_values(name)))
    assert {line.split(":")[0].strip() for line in said.splitlines() if line.endswith("(reset to the default)")} == (
        changed - named
    )


@pytest.mark.parametrize("name", presets())
def test_presets_are_about_all_that_their_result_depends_on(name):
    sections = set(sections_of(preset_values(name)))
    if "images" in sections:
        assert sections == PICTURES
    elif "text" in sections:
        assert sections >= TEXT
        assert sections <= TEXT | {"decoding", "evaluation"}
    else:
        assert name == "quick"
        assert not sections & {"diffusion", "transformer", "images", "text"}


def test_every_preset_can_follow_every_other():
    for first, second in itertools.permutations(presets(), 2):
        build(overlay(preset_values(second), load(preset=first).model_dump(mode="json")), f"{second} after {first}")


def test_preset_of_text_keeps_the_users_pictures(own, capsys):
    assert main(["params", "--preset", "multi30k", "--write"]) == 0
    assert load().images == build(parse_overrides(OWN)).images
    said = capsys.readouterr().out
    assert '  text.source: "pairs.tsv" -> "bentrevett/multi30k"\n' in said
    assert "  text.max_length: 64 -> 128 (reset to the default)\n" in said
    assert "images" not in said


def test_set_changes_one_value_says_so_and_wins_over_the_preset(own, capsys):
    Path("dvc.yaml").touch()
    assert main(["params", "-S", "diffusion.unet.channels=16", "--write"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["  diffusion.unet.channels: 24 -> 16"]
    assert flatten(load()) == own | {"diffusion.unet.channels": 16}
    assert main(["params", "-S", "diffusion.unet.channels=16", "--write"]) == 0
    assert capsys.readouterr().out == "params.yaml written, no values changed; `dvc repro` runs it.\n"
    assert resolve("quick", parse_overrides(["transformer.training.steps=5"])).params.transformer.training.steps == 5


def test_what_is_printed_is_what_would_be_written(own, capsys):
    assert main(["params", "--preset", "quick"]) == 0
    printed = capsys.readouterr().out
    assert main(["params", "--preset", "quick", "--write"]) == 0
    assert Path("params.yaml").read_text() == printed


def test_the_users_own_values_may_not_fit_the_preset_which_is_said_and_nothing_is_written(own):
    before = Path("params.yaml").read_text()
    with pytest.raises(UserError, match=r"preset quick on params.yaml: .*S=5000, more than the largest T=100"):
        resolve("quick", parse_overrides(["sweep.sampling_steps=[5000]"]))
    assert main(["params", "--preset", "quick", "-S", "sweep.sampling_steps=[5000]", "--write"]) == 2
    assert Path("params.yaml").read_text() == before


def test_absent_file_is_made_from_the_defaults(own):
    Path("params.yaml").unlink()
    with pytest.raises(UserError, match="does not exist"):
        resolve("quick")
    assert main(["params", "--write"]) == 0
    assert load() == Params()
    Path("params.yaml").unlink()
    assert main(["params", "--preset", "quick", "--write"]) == 0
    assert load() == load(preset="quick")


def flatten_plain(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        leaves |= flatten_plain(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return leaves

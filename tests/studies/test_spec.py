import re
from pathlib import Path

import pytest
import yaml

from stepladder.errors import UserError
from stepladder.studies import running, spec, stages
from tests.studies import made

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"seed": [0]}, "seed"),
        ({"seeds": []}, "seeds"),
        ({"seeds": [1, 1]}, r"seeds=\[1, 1\] names one twice"),
        ({"measures": ["fid"]}, "there is no fid; there are: frechet"),
        ({"plane": ["recall"]}, "name two measures"),
        ({"arms": {"Big": {"timesteps": 10}}}, "arms.Big: a name has small letters"),
        ({"arms": {"a": {"family": "flow", "timesteps": 10}}}, "arms.a.family"),
        ({"arms": {"a": {}}}, "timesteps=0 with family diffusion"),
        ({"arms": {"a": {"family": "gan", "timesteps": 5}}}, "timesteps=5 with family gan"),
        ({"arms": {"a": {"timesteps": 5, "set": {"diffusion.unet.chanels": 8}}}}, "did you mean diffusion.unet.channels"),
        ({"arms": {"a": {"timesteps": 5, "samplings": [{"sampler": "euler2", "steps": 5}]}}}, "sampler"),
        ({"arms": {"a": {"timesteps": 5, "samplings": [{"steps": [50]}]}}}, "arm a has T=5 and no S"),
        ({"arms": {"a": {"timesteps": 5, "samplings": [{"sampler": "ddim"}]}}}, r"steps=\[None\]"),
        ({"arms": {"a": {"timesteps": 5, "samplings": [{"variance": "learned", "steps": 5}]}}}, "learned_range"),
        ({"contrasts": [{"claim": "c", "this": {"arm": "x"}, "against": {"arm": "gan"}}]}, "names the arm 'x'; there are"),
        ({"contrasts": [{"claim": "c", "this": {"arm": "gan", "s": 5}, "against": {"arm": "gan"}}]}, "chooses by s"),
        ({"preset": "none-such"}, "no preset 'none-such'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_a_sentence(here: Path, changes: dict, sentence: str):
    made.study(here, **changes)
    with pytest.raises(UserError, match=sentence):
        spec.read("made")


def test_no_study_and_no_yaml_are_sentences(here: Path):
    with pytest.raises(UserError, match="There is no study 'made'; there are: none"):
        spec.read("made")
    made.study(here)
    (here / "studies" / "made" / "study.yaml").write_text("question: [")
    with pytest.raises(UserError, match="is not YAML"):
        spec.read("made")


def test_an_arm_is_the_workspace_with_base_and_own_changes(here: Path):
    text = (here / "params.yaml").read_text().replace("  heads: 4", "  heads: 2")
    (here / "params.yaml").write_text(text)
    made.study(here, base={"diffusion": {"unet.channels": 16, "label_dropout": 0.3}, "evaluation.samples": 50})
    params = spec.read("made").params("large", 2)
    assert params.seed == 2
    assert params.evaluation.samples == 50
    assert params.sweep.timesteps == (50,)
    assert (params.diffusion.unet.channels, params.diffusion.label_dropout) == (32, 0.3), "an arm's own value wins"
    assert params.diffusion.unet.heads == 2, "the workspace's value stays"


def test_lists_are_every_combination_and_S_stays_below_T(here: Path):
    made.study(here, samplings=[
        {"sampler": ["ddim", "ancestral"], "spacing": ["trailing", "leading"], "steps": [5, 20, "T"]},
        {"sampler": "ddim", "guidance_interval": [0.2, 0.8], "guidance_scale": [2, 3], "steps": 5},
    ])  # fmt: skip
    ways = spec.read("made").ways("small")
    assert len(ways) == 6
    assert [steps for _, steps in ways] == [[5, 10]] * 4 + [[5]] * 2
    assert {(s.sampler, s.spacing) for s, _ in ways[:4]} == {
        (a, b) for a in ("ddim", "ancestral") for b in ("trailing", "leading")
    }
    assert [s.guidance_scale for s, _ in ways[4:]] == [2, 3]
    assert spec.read("made").ways("gan") == []


def test_stages_are_one_for_each_arm_and_seed(here: Path):
    made.study(here)
    study = spec.read("made")
    file = stages.write("made")
    declared = yaml.safe_load(file.read_text())["stages"]
    assert list(declared) == ["diffusion", "gan", "page"]
    assert declared["diffusion"]["matrix"] == {"arm": ["small", "large"], "seed": [0, 1, 2]}
    of_study = declared["diffusion"]["params"][-1]["studies/made/study.yaml"]
    assert of_study == ["measures", "samplings", "arms.${item.arm}"], "an arm depends on no other arm"
    assert "samplings" not in declared["gan"]["params"][-1]["studies/made/study.yaml"]
    assert not any(
        "src/stepladder/baselines" in stage["deps"] for name, stage in declared.items() if name == "diffusion"
    )
    assert stages.cells("made", study)[:3] == [
        "studies/made/dvc.yaml:diffusion@small-0", "studies/made/dvc.yaml:diffusion@large-0", "studies/made/dvc.yaml:gan@gan-0",
    ]  # fmt: skip
    when = file.stat().st_mtime_ns
    assert stages.write("made").stat().st_mtime_ns == when, "what is as it should be is not written again"


def test_every_study_of_the_project_is_valid(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    names = spec.names()
    assert {"baselines", "timesteps", "improved-ddpm", "networks", "guidance", "objectives"} <= set(names)
    for name in names:
        study = spec.read(name)
        assert study.contrasts, name
        assert yaml.safe_load(stages.rendered(name, study))["stages"]["page"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"preset": "other"},
            "images.source=elsewhere and params.yaml has images.source=digits; `stepladder params --preset other --write` first.",
        ),
        (
            {"arms": {"a": {"timesteps": 10, "set": {"images.size": 16}}}},
            "images.size=16 and params.yaml has images.size=0; leave it out of the study.",
        ),
    ],
)
def test_other_data_than_is_prepared_is_refused_before_anything_runs(here, changes, words):
    (here / "presets").mkdir()
    (here / "presets" / "other.yaml").write_text("images: {source: elsewhere}\n")
    made.study(here, **({"arms": {"a": {"timesteps": 10}}} | changes))
    with pytest.raises(UserError, match=re.escape(words)):
        running.run("made", 1, here / "reports")
    assert not (here / "studies" / "made" / "dvc.yaml").exists()

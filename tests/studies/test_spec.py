import json
import re
from pathlib import Path

import pytest
import yaml

from stepladder.errors import UserError
from stepladder.params import Params, flatten
from stepladder.planning import work
from stepladder.studies import cell, possible, results, running, spec, stages
from stepladder.sweeps.child import Places
from stepladder.training.families import FAMILIES
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


def claim(this: dict, against: dict, **more: object) -> dict:
    return {"contrasts": [{"claim": "c", "this": this, "against": against, **more}]}


SMALL, LARGE, GAN = {"arm": "small"}, {"arm": "large"}, {"arm": "gan"}
TEXT = {"measures": ["chrf"], "arms": {"a": {"family": "transformer"}, "b": {"family": "transformer"}}}


@pytest.mark.parametrize("expect", ["better", "as_good", "steadier"])
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (claim(SMALL | {"steps": 7}, LARGE), "asks for small, steps=7, which no arm draws; arm small is .* by ddim at S=5, 10"),
        (claim(LARGE, SMALL | {"steps": "T"}, ), None),  # T of small is 10, which is drawn
        (claim(LARGE | {"steps": "T"}, SMALL), "asks for large, steps=T, which no arm draws"),
        (claim(SMALL | {"steps": "5"}, LARGE), "asks for small, steps=5, which no arm draws"),
        (claim(SMALL | {"sampler": "heun"}, LARGE), "asks for small, sampler=heun, which no arm draws"),
        (claim(SMALL | {"eta": 0.5}, LARGE), "asks for small, eta=0.5, which no arm draws"),
        (claim(SMALL, GAN | {"steps": 10}), "asks for gan, steps=10, which no arm draws; arm gan draws in one pass"),
        (claim(SMALL, GAN | {"sampler": "ddim"}), "arm gan draws in one pass, without sampling parameters"),
        (claim(SMALL, SMALL), "compares small with itself"),
        (claim(SMALL, LARGE, measure="chrf"), "chrf is not measured here; there are: frechet"),
        (claim(SMALL, LARGE, measure="bits_per_dim"), "decided by bits_per_dim, which `measures` does not name"),
        ({"measures": ["bits_per_dim"]} | claim(SMALL, GAN), "arm gan, a GAN, has not"),
        ({"measures": ["bleu"]}, "measures: bleu is not measured here"),
        ({"plane": ["recall", "loss"]}, "measures: loss is not measured here"),
        (TEXT | {"measures": ["frechet"]}, "measures: frechet is not measured here; there are: accuracy, chrf, bleu"),
        (TEXT | claim({"arm": "a"}, {"arm": "b"}, measure="recall"), "recall is not measured here"),
        (TEXT | claim({"arm": "a", "steps": 5}, {"arm": "b"}), "asks for a, steps=5, which no arm draws"),
    ],
)  # fmt: skip
def test_a_claim_that_could_never_be_measured_is_refused(here: Path, changes: dict, sentence: str | None, expect: str):
    for contrast in changes.get("contrasts", []):
        contrast["expect"] = expect
    made.study(here, **changes)
    if sentence is None:
        spec.read("made")
        return
    with pytest.raises(UserError, match=sentence):
        spec.read("made")
    with pytest.raises(UserError, match=sentence):
        running.run("made", 1, here / "reports", here / "data" / "images", here / "models" / "feature-net")
    assert [file.name for file in here.rglob("*") if file.is_file()] == ["params.yaml", "study.yaml"]


def test_a_spread_between_two_seeds_is_refused(here: Path):
    made.study(here, seeds=[0, 1], **claim(SMALL, GAN, expect="steadier"))
    with pytest.raises(UserError, match="is of the spread between seeds, and there are 2; give 3 or more"):
        spec.read("made")


def test_what_is_drawn_is_what_a_cell_draws(here: Path):
    """The points that claims are held against are those that cells will have."""
    made.whole(here)
    made.study(here)
    study = spec.read("made")
    cells, _ = results.read("made", study, here / "studies" / "made" / "cells")
    found = {(row.arm, json.dumps(row.sampling), row.steps) for row in results.rows(study, cells, 0.95)}
    assert {(p.arm, json.dumps(p.sampling), p.steps) for p in possible.points(study)} == found


def test_every_parameter_of_the_whole_spec_has_an_effect_on_a_cell_or_is_refused(here: Path):
    """Of an arm of pictures and of one of text: what its cell reads is admitted, anything else is not."""
    values = flatten(Params())
    for family, timesteps in (("diffusion", 10), ("vae", 0), ("gan", 0), ("transformer", 0)):
        study = spec.Study.model_construct(
            question="?", seeds=(0,), preset="", base={}, measures=("loss",), contrasts=(),
            arms={"a": spec.Arm.model_construct(family=family, timesteps=timesteps, set={}, samplings=())},
        )  # fmt: skip
        data = FAMILIES[family].data
        admitted = {key.split(".")[0] for key in values if not possible._without_effect(study, "a", key)}
        judged = {"evaluation", "decoding"} if data == "text" else {"evaluation"}
        assert admitted == {family, data} | judged
        backbones = {key.split(".")[1] for key in values if not possible._without_effect(study, "a", key)} & {
            "unet",
            "dit",
        }
        assert backbones == ({"unet"} if family == "diffusion" else set())


@pytest.mark.parametrize("key", ["seed", "sampling.eta", "feature_net.steps", "transformer.d_model", "text.limit"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_parameter_without_effect_is_refused_wherever_it_is_set(here: Path, key: str, nested: bool):
    value = flatten(Params())[key]
    written: dict = {key: value}
    if nested and "." in key:
        section, name = key.split(".")
        written = {section: {name: value}}
    made.study(here, arms={"a": {"timesteps": 10, "set": written}})
    with pytest.raises(UserError, match=f"arm a sets {key}, which would change nothing: .*; leave it out"):
        spec.read("made")
    made.study(here, arms={"a": {"timesteps": 10}}, base=written)
    with pytest.raises(UserError, match=f"base sets {key}, which would change nothing"):
        spec.read("made")


def test_the_other_networks_section_is_refused_and_one_that_some_arm_reads_is_not(here: Path):
    arms: dict = {"a": {"timesteps": 10, "set": {"diffusion.dit.depth": 2}}}
    made.study(here, arms=arms)
    with pytest.raises(UserError, match=r"sets diffusion.dit.depth, .*: the network of arm a is unet"):
        spec.read("made")
    made.study(here, arms={"a": {"timesteps": 10}, "g": {"family": "gan"}}, base={"gan.training.steps": 5})
    spec.read("made")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images.limit": 100}, "is of images.limit=100 and params.yaml has images.limit=0"),
        ({"images": {"held_out": 0.4}}, "is of images.held_out=0.4 and params.yaml has"),
    ],
)
def test_a_cell_of_other_data_than_is_prepared_is_not_trained(here: Path, changes: dict, words: str):
    made.study(here, arms={"a": {"timesteps": 10}, "few": {"timesteps": 10, "set": changes}})
    places = Places(here / "data/images", here / "data/text", here / "models/feature-net")
    for start in (
        lambda: cell.run("made", "few", 0, places.images, places.feature_net),
        lambda: cell.run("made", "a", 0, places.images, places.feature_net),
        lambda: work.of_study("made", places),
    ):
        with pytest.raises(UserError, match=re.escape(words)):
            start()
    assert not (here / "studies" / "made" / "cells").exists()


def test_a_measure_of_other_texts_is_refused_before_anything_runs(here: Path):
    made.study(here, **TEXT | {"measures": ["chrf", "loss_4x"]})
    spec.read("made")
    with pytest.raises(UserError, match=r"text\.task=pairs: loss_4x is not measured here"):
        cell.run("made", "a", 0, here / "data/text", here / "models/feature-net")


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
        running.run("made", 1, here / "reports", here / "data" / "images", here / "models" / "feature-net")
    assert not (here / "studies" / "made" / "dvc.yaml").exists()

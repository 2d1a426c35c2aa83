import json
import shutil
from pathlib import Path

import pytest
from scipy import stats

from benchmarks import findings
from stepladder.studies import figures, page, results, spec, verdicts
from stepladder.studies.results import Figure, Row, over_seeds
from tests.studies import made


def row(arm: str, values: list[float], measure: str = "frechet", spread: float = 0.1, **more: list[float]) -> Row:
    figures = {}
    for name, each in {measure: values, **more}.items():
        own = [(v - spread, v + spread) for v in each]
        figures[name] = over_seeds(dict(enumerate(each)), own, 0.95)
    return Row(arm, {"sampler": "ddim"}, 10, 50, figures)


def test_better_is_decided_seed_by_seed():
    this, other = row("a", [1.0, 2.0, 3.0]), row("b", [1.1, 2.12, 3.11])
    outcome, said = verdicts.compare_means(this, other, "frechet")
    assert outcome == "shown", "the intervals of the means overlap, the differences do not include zero"
    gains = [0.1, 0.12, 0.11]
    low, high = stats.t.interval(0.95, 2, loc=0.11, scale=stats.sem(gains))
    assert f"({low:.3g} to {high:.3g})" in said
    assert verdicts.compare_means(other, this, "frechet")[0] == "the opposite"
    assert verdicts.compare_means(this, row("c", [0.5, 2.6, 3.0]), "frechet")[0] == "not shown"


def test_better_goes_the_way_of_the_measure():
    high, low = row("a", [0.9, 0.91, 0.92], "accuracy"), row("b", [0.5, 0.52, 0.51], "accuracy")
    assert verdicts.compare_means(high, low, "accuracy")[0] == "shown"
    assert verdicts.compare_means(low, high, "accuracy")[0] == "the opposite"


def test_with_few_seeds_the_runs_own_intervals_decide():
    assert verdicts.compare_means(row("a", [1.0]), row("b", [1.3]), "frechet")[0] == "shown"
    assert verdicts.compare_means(row("b", [1.3]), row("a", [1.0]), "frechet")[0] == "the opposite"
    assert verdicts.compare_means(row("a", [1.0]), row("b", [1.15]), "frechet")[0] == "not shown"
    assert verdicts.compare_means(row("a", [1.0, 1.2]), row("b", [1.3, 1.5]), "frechet")[0] == "not shown"
    bare = Row("c", None, 1, None, {"frechet": Figure({0: 1.0}, 1.0)})
    assert verdicts.compare_means(bare, row("b", [1.3]), "frechet")[0] == "not shown"


def test_steadier_is_brown_and_forsythes_test():
    steady, wild = [1.0, 1.01, 0.99, 1.02, 1.0], [0.5, 2.0, 1.0, 4.0, 0.3]
    this, other = (over_seeds(dict(enumerate(v)), [], 0.95) for v in (steady, wild))
    outcome, said = verdicts.compare_spreads(this, other)
    import numpy as np

    p = stats.levene(np.log(steady), np.log(wild), center="median").pvalue
    assert f"p = {p:.2g}" in said
    assert p < 0.05
    assert outcome == "shown"
    assert verdicts.compare_spreads(other, this)[0] == "the opposite"
    assert verdicts.compare_spreads(this, this)[0] == "not shown"
    same = over_seeds({0: 1.0, 1: 1.0, 2: 1.0}, [], 0.95)
    assert verdicts.compare_spreads(same, same)[0] == "not shown"


def decided(here: Path, **contrast: object) -> verdicts.Claim:
    made.study(here, contrasts=[{"claim": "so it is", **contrast}])
    study = spec.read("made")
    cells, _ = results.read("made", study, here / "studies" / "made" / "cells")
    (claim,) = verdicts.claims(study, results.rows(study, cells, 0.95))
    return claim


def test_claims_choose_their_rows(here: Path):
    made.whole(here)
    claim = decided(here, this={"arm": "large", "steps": 5}, against={"arm": "small"})
    assert claim.outcome == "shown"
    assert "large, DDIM, S=5: 0.302" in claim.why
    assert "small, DDIM, S=10: 0.500" in claim.why, "of several ways that fit the best stands for it"
    assert decided(here, this={"arm": "small"}, against={"arm": "large"}).outcome == "the opposite"
    good = {"this": {"arm": "large", "steps": 5}, "against": {"arm": "large", "steps": 10}, "expect": "as_good"}
    assert decided(here, **good).outcome == "shown"
    worse = {"this": {"arm": "small", "steps": 5}, "against": {"arm": "large", "steps": 10}, "expect": "as_good"}
    assert decided(here, **worse).outcome == "the opposite"


@pytest.mark.parametrize("expect", ["better", "as_good", "steadier"])
def test_what_was_not_measured_is_not_what_was_not_shown(here: Path, tmp_path: Path, expect: str):
    made.whole(here)
    for seed in range(3):
        shutil.rmtree(here / "studies" / "made" / "cells" / f"large-{seed}")
    claim = decided(here, this={"arm": "large", "steps": 5}, against={"arm": "small"}, expect=expect)
    assert claim.outcome == "not measured"
    assert claim.why == "There is no mean Fréchet distance of large, steps=5."
    written = page.write("made", tmp_path)
    assert ">not measured</td>" in written.read_text()
    found = json.loads((written.parent / "results.json").read_text())
    assert [each["outcome"] for each in found["claims"]] == ["not measured"]
    assert "| so it is | not measured | There is no mean" in findings.section(found)


def test_T_in_a_claim_is_the_arms_own():
    rows = [Row("a", {"sampler": "ddim", "guidance_interval": [0.2, 0.8]}, s, 50) for s in (10, 50)]
    assert verdicts.rows_of_side(rows, {"arm": "a", "steps": "T"}) == [rows[1]]
    assert verdicts.rows_of_side(rows, {"guidance_interval": (0.2, 0.8), "steps": 10}) == [rows[0]]
    assert not verdicts.rows_of_side(rows, {"guidance_interval": [0, 1]})


def test_verdict_is_computed(here: Path):
    values = made.study(here)
    made.whole(here)
    study = spec.read("made")
    cells, _ = results.read("made", study, here / "studies" / "made" / "cells")
    said = " ".join(verdicts.verdict(study, results.rows(study, cells, 0.95), 0.2))
    assert said.startswith(
        "large, DDIM, S=10 has the best mean Fréchet distance over 3 seeds: 0.300 (0.275 to 0.325), 1.50 times"
    )
    assert "As good by the rule: none of the others." in said
    assert "Seeds that failed: gan 1 of 3; none of the other arms." in said
    assert "The cheapest that is as good is large, DDIM, S=5" in said
    assert said.index("small 2%") < said.index("gan 120%")
    for seed in range(3):  # the other way round: nothing in the sentences is fixed
        made.cell(here, "small", seed, {5: 0.1, 10: 0.1 + 0.001 * seed})
        made.cell(here, "gan", seed, {0: 0.3})
    cells, _ = results.read("made", study, here / "studies" / "made" / "cells")
    said = " ".join(verdicts.verdict(study, results.rows(study, cells, 0.95), 0.2))
    assert said.startswith("small, DDIM, S=5 has the best")
    assert "No seed of any arm failed." in said
    assert values["question"] == study.question


def test_nothing_measured_is_said():
    study = spec.Study(question="q", seeds=(0,), arms={"a": spec.Arm(timesteps=5)})
    bad = Row("a", {"sampler": "ddim"}, 5, 5, {"frechet": Figure({0: None})}, {0: "diverged"})
    assert verdicts.verdict(study, [bad], 0.2) == ["No arm has a figure that is a number."]
    assert verdicts.verdict(study, [], 0.2) == []


def test_contrast_rule_and_code_agree_on_the_fewest_seeds():
    assert "fewer than three seeds" in verdicts.CONTRAST_RULE
    assert results.FEWEST == 3
    with pytest.raises(KeyError):
        verdicts.compare_means(row("a", [1.0]), row("b", [1.0]), "kid")


def test_a_figure_of_the_model_is_told_of_the_arm_and_not_plotted_against_ways_to_draw(here, tmp_path):
    contrast = {"claim": "Large is better.", "this": {"arm": "large"}, "against": {"arm": "small"}}
    arms = {"small": {"timesteps": 10}, "large": {"timesteps": 50}}
    made.study(here, measures=["bits_per_dim", "frechet"], arms=arms, contrasts=[contrast])
    for seed in range(3):
        for arm, bits in (("small", 5.0), ("large", 4.0)):
            made.cell(here, arm, seed, {5: 0.3, 10: 0.2})
            file = here / "studies" / "made" / "cells" / f"{arm}-{seed}" / "metrics.json"
            file.write_text(json.dumps(json.loads(file.read_text()) | {"bits_per_dim": bits + 0.1 * seed}))
    study = spec.read("made")
    rows = results.rows(study, results.read("made", study, here / "studies/made/cells")[0], 0.95)
    said = verdicts.verdict(study, rows, None)
    assert said[0].startswith("large has the best mean bits a dimension")
    assert not any("cheap" in sentence for sentence in said)
    (claim,) = verdicts.claims(study, rows)
    assert (claim.outcome, "bits a dimension of large: " in claim.why) == ("shown", True)
    assert figures.plot_all(study, rows, {}, tmp_path) == ["seeds"]

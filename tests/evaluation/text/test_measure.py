import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.significance import PairedTest

from stepladder.errors import UserError
from stepladder.evaluation.text.measure import Score, difference, intervals, scored
from stepladder.evaluation.text.scores import translation_scores

REFERENCES = ["the cat sat on the mat", "a dog", "Україна", "much ado about nothing at all", "to be or not to be"] * 6
A = ["the cat sat on a mat", "a dog", "Украіна", "nothing at all", "be or not be"] * 6
B = ["the cat sat on the mat", "the dog", "Україна", "much ado about it", "to be or not"] * 4 + A[20:]


def measures(translations: list[str]) -> dict[str, Score]:
    found = translation_scores(translations, [[r] for r in REFERENCES], ["en"] * len(REFERENCES))
    return {m.name: m for m in found}


def mean(values: np.ndarray, name: str = "chrf") -> Score:
    table = np.stack([values, np.ones(len(values))], 1)
    return Score(name, table, lambda t: float(t[0] / t[1]))


@pytest.mark.parametrize("name", ["bleu", "chrf"])
def test_a_difference_is_that_of_sacrebleus_paired_bootstrap(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SACREBLEU_SEED", "7")
    theirs = PairedTest(
        [("A", A), ("B", B)], {"bleu": BLEU(), "chrf": CHRF()}, [REFERENCES], test_type="bs", n_samples=300
    )()[1]
    (key,) = [k for k in theirs if k.lower().startswith(name)]
    ours = difference(measures(A)[name], measures(B)[name], count=300, confidence=0.95, seed=7)
    assert ours.p == pytest.approx(theirs[key][1].p_value, abs=1e-9)
    assert (ours.a, ours.b) == pytest.approx((theirs[key][0].score, theirs[key][1].score))


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    low, high = intervals([mean(values)], count=4000, confidence=0.95, seed=1)["chrf"]
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)
    narrow = intervals([mean(values)], count=4000, confidence=0.5, seed=1)["chrf"]
    assert low < narrow[0] < narrow[1] < high
    assert scored([mean(values)], count=50, confidence=0.9, seed=1).keys() == {"chrf", "chrf_low", "chrf_high"}


def test_who_is_better_is_said_only_where_it_shows() -> None:
    noise = np.random.default_rng(0).normal(0, 1, 300)
    a, better, alike = mean(noise), mean(noise + 1), mean(np.random.default_rng(1).normal(0, 1, 300))
    options = {"count": 500, "confidence": 0.95, "seed": 0}
    found = difference(a, better, **options)
    assert found.verdict == "B is better"
    assert (found.low, found.high) == pytest.approx((1, 1))
    assert found.better == 1
    assert difference(better, a, **options).verdict == "A is better"
    losses = [mean(x, "ter") for x in (noise, noise + 1)]
    assert difference(*losses, **options).verdict == "A is better"
    assert difference(*losses, **options).better == 0
    undecided = difference(a, alike, **options)
    assert undecided.verdict == "no difference shown"
    assert undecided.low < 0 < undecided.high
    itself = difference(a, a, **options)
    assert (itself.verdict, itself.better, itself.p) == ("no difference shown", 0, 1)


@pytest.mark.parametrize("name", ["bleu", "chrf", "ter", "exact_match"])
def test_a_system_does_not_differ_from_itself(name: str) -> None:
    """sacreBLEU's paired tests give p = 1 / (n + 1)."""
    found = difference(measures(A)[name], measures(A)[name], count=300, confidence=0.95, seed=7)
    assert (found.p, found.low, found.high, found.verdict) == (1, 0, 0, "no difference shown")


def test_of_equal_systems_the_p_value_is_seldom_small() -> None:
    small = 0
    for seed in range(60):
        x, y = np.random.default_rng(seed).normal(0, 1, (2, 80))
        small += difference(mean(x), mean(y), count=200, confidence=0.95, seed=seed).p < 0.05
    assert small <= 9


def test_different_numbers_of_items_are_refused() -> None:
    with pytest.raises(UserError, match="chrf was measured on 3 items of one and 4 of the other"):
        difference(mean(np.ones(3)), mean(np.ones(4)), count=10, confidence=0.9, seed=0)

"""The gate before @champion: what passes, and all that stands in the way of what does not."""

import numpy as np
import pytest

from stepladder.errors import UserError
from stepladder.params import Promotion
from stepladder.tracking import aliases, promotion, store
from stepladder.tracking.promotion import Unfit, better, difference, promote

NAME, LIMITS = "diffusion-digits", Promotion()
TAGS = {"figure": "frechet", "smaller_is_better": "true", "data_hash": "a" * 64, "judged": "720 pictures"}


def tags(value: float, half: float = 0.01, **others: str) -> dict[str, str]:
    return TAGS | {"frechet": f"{value}", "frechet_low": f"{value - half}", "frechet_high": f"{value + half}"} | others


@pytest.fixture
def versions(project, monkeypatch):
    """Makes versions with given tags; their files are not there, and what a fresh process would find is said by ``found``."""
    found = {"megabytes": 1.0, "seconds_to_load": 0.5, "seconds": 0.1, "rows": 2}

    def probe(uri):
        if "fails" in found:
            raise Unfit(found["fails"])
        return found

    monkeypatch.setattr(promotion, "probe", probe)
    client = store.client()
    client.create_registered_model(NAME)

    def make(*several: dict[str, str]) -> None:
        for each in several:
            client.create_model_version(NAME, source="file:///nowhere", tags=each)

    make.found = found
    return make


def champion() -> str:
    return str(store.client().get_registered_model(NAME).aliases["champion"])


def test_the_interval_of_a_difference_is_that_of_simulated_differences():
    """MOVER against what it stands for: two independent normal estimates, of which 95% of the differences lie inside."""
    random = np.random.default_rng(0)
    a, b = random.normal(3.0, 0.3, 200_000), random.normal(1.0, 0.4, 200_000)
    low, high = difference((3.0, 3 - 1.96 * 0.3, 3 + 1.96 * 0.3), (1.0, 1 - 1.96 * 0.4, 1 + 1.96 * 0.4))
    assert np.quantile(a - b, [0.025, 0.975]) == pytest.approx([low, high], abs=0.01)


@pytest.mark.parametrize(
    ("ours", "theirs", "smaller", "expected"),
    [
        ((0.5, 0.45, 0.55), (0.6, 0.55, 0.65), True, True),
        ((0.56, 0.51, 0.61), (0.6, 0.55, 0.65), True, False),
        ((0.6, 0.55, 0.65), (0.5, 0.45, 0.55), True, False),
        ((60.0, 59.0, 61.0), (50.0, 49.0, 51.0), False, True),
        ((50.5, 49.5, 51.5), (50.0, 49.0, 51.0), False, False),
        ((50.0, 50.0, 50.0), (50.0, 50.0, 50.0), False, False),
    ],
)
def test_better_is_by_more_than_the_interval(ours, theirs, smaller, expected):
    name = "frechet" if smaller else "chrf"

    def of(figure):
        names = (name, f"{name}_low", f"{name}_high")
        return {"figure": name} | dict(zip(names, map(str, figure), strict=True))

    assert better(of(ours), of(theirs)) is expected


def test_a_better_version_becomes_champion_and_the_history_says_so(versions):
    versions(tags(0.6), tags(0.5))
    first, second = (promote(f"models:/{NAME}/{number}", LIMITS) for number in "12")
    assert (first.promoted, second.promoted) == (True, True)
    assert champion() == "2"
    changes = aliases.history(NAME)
    assert [(c.how, c.alias, c.before, c.after) for c in changes] == [
        ("promote", "champion", "", "1"),
        ("promote", "champion", "1", "2"),
    ]
    assert changes[1].why == (
        "champion: frechet 0.5 (0.49 to 0.51) against 0.6 (0.59 to 0.61) of version 1 on the same data"
    )
    assert changes[1].who
    version = store.client().get_model_version(NAME, "2")
    assert version.description == version.tags["verdict"] == changes[1].why
    assert version.tags["megabytes"] == "1"
    again = promote(f"models:/{NAME}@champion", LIMITS)
    assert (again.promoted, again.reasons) == (False, ())


def test_a_refused_one_is_told_everything_at_once(versions):
    versions(tags(0.5), tags(0.6))
    promote(f"models:/{NAME}/1", LIMITS)
    versions.found |= {"megabytes": 2500.0, "seconds": 90.0}
    verdict = promote(f"models:/{NAME}/2", LIMITS)
    assert not verdict.promoted
    assert len(verdict.reasons) == 3
    for words in (
        "not better by more than the interval: frechet 0.6 (0.59 to 0.61) against 0.5 (0.49 to 0.51) of version 1",
        "its files have 2500 MB, more than promotion.megabytes=2000",
        "answering its 2 examples takes 90 s, more than promotion.seconds=60",
    ):
        assert words in verdict.why
    assert champion() == "1"
    assert store.client().get_model_version(NAME, "2").tags["verdict"] == verdict.why


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"data_hash": "b" * 64}, "was measured on other data than champion version 1's"),
        ({"judged": "60 pictures"}, "was judged in another way (60 pictures) than champion version 1 (720 pictures)"),
        ({"figure": ""}, "does not say by which figure it is judged"),
    ],
)
def test_figures_that_cannot_be_compared(versions, other, words):
    versions(tags(0.6), tags(0.1, **other))
    promote(f"models:/{NAME}/1", LIMITS)
    assert words in promote(f"models:/{NAME}/2", LIMITS).why


def test_a_first_version_that_does_not_load_is_no_champion(versions):
    versions(tags(0.6))
    versions.found["fails"] = "it does not load (a reason)"
    verdict = promote(f"models:/{NAME}/1", LIMITS)
    assert (verdict.promoted, verdict.reasons) == (False, ("it does not load (a reason)",))
    assert not store.client().get_registered_model(NAME).aliases


def test_a_figure_that_is_not_a_number_is_no_figure(versions):
    versions(tags(float("nan")))
    assert promote(f"models:/{NAME}/1", LIMITS).reasons == ("its frechet is not a number",)


def test_a_person_can_force_it_for_a_reason_that_is_kept(versions):
    versions(tags(0.5), tags(0.6))
    promote(f"models:/{NAME}/1", LIMITS)
    with pytest.raises(UserError, match="needs a reason"):
        promote(f"models:/{NAME}/2", LIMITS, force=True)
    verdict = promote(f"models:/{NAME}/2", LIMITS, force=True, reason="half the time for the same looks")
    assert verdict.promoted
    change = aliases.history(NAME)[-1]
    assert (change.how, change.before, change.after) == ("force", "1", "2")
    assert "half the time for the same looks (although not better by more than the interval" in change.why


def test_what_was_rolled_back_comes_back_only_by_force(versions):
    versions(tags(0.6), tags(0.5))
    for number in "12":
        promote(f"models:/{NAME}/{number}", LIMITS)
    aliases.rollback(NAME, reason="users complain of blots")
    verdict = promote(f"models:/{NAME}/2", LIMITS)
    assert verdict.reasons == ("it was rolled back (users complain of blots)",)
    assert promote(f"models:/{NAME}/2", LIMITS, force=True, reason="the blots were the viewer's").promoted
    assert aliases.ROLLED_BACK not in store.client().get_model_version(NAME, "2").tags


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("models:/nobody/1", "nobody is not in the registry; it has the models: diffusion-digits"),
        (f"models:/{NAME}/9", "of diffusion-digits it has: 1"),
        (f"models:/{NAME}@champion", "of diffusion-digits it has: 1"),
        ("models/diffusion/T10", "names no version of a model; give models:/NAME/VERSION or models:/NAME@ALIAS"),
    ],
)
def test_what_there_is_not(versions, uri, words):
    versions(tags(0.6))
    with pytest.raises(UserError, match=words):
        promote(uri, LIMITS)

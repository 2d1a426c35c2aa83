from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from stepladder.errors import UserError
from stepladder.params import Sampling
from stepladder.studies import results, spec
from stepladder.studies.results import Row, as_good, best, cheapest_as_good, over_seeds, sampling_label
from tests.studies import made

VALUES = st.lists(st.floats(0.01, 100), min_size=3, max_size=8, unique=True)


@given(VALUES, st.floats(0.5, 0.99))
def test_interval_of_three_seeds_or_more_is_students(values: list[float], confidence: float):
    found = over_seeds(dict(enumerate(values)), [(0.0, 1.0)], confidence)
    scale = stats.sem(values)
    low, high = stats.t.interval(confidence, len(values) - 1, loc=np.mean(values), scale=scale)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.deviation == pytest.approx(np.std(values, ddof=1))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_interval_of_fewer_seeds_is_that_of_the_runs():
    one = over_seeds({0: 2.0}, [(1.5, 2.5)], 0.95)
    assert (one.mean, one.low, one.high, one.deviation) == (2.0, 1.5, 2.5, None)
    two = over_seeds({0: 2.0, 1: 3.0}, [(1.5, 2.5), (2.8, 3.1)], 0.95)
    assert (two.mean, two.low, two.high) == (2.5, 1.5, 3.1)
    assert over_seeds({0: 2.0, 1: 3.0}, [], 0.95).low == 2.0
    assert over_seeds({0: 2.0}, [], 0.95).low is None


def test_interval_stays_within_bounds():
    found = over_seeds({0: 0.99, 1: 1.0, 2: 0.9}, [], 0.95, (0.0, 1.0))
    assert found.high == 1.0
    assert found.low is not None
    assert 0 < found.low < 0.9


@pytest.mark.parametrize("bad", [None, float("nan"), float("inf")])
def test_a_seed_without_a_figure_is_not_averaged_away(bad: float | None):
    found = over_seeds({0: 1.0, 1: bad, 2: 1.1}, [], 0.95)
    assert found.mean is None
    assert found.low is None
    assert found.each[1] is bad


def rows(here: Path) -> list[Row]:
    study = spec.read("made")
    cells, missing = results.read("made", study, here / "studies" / "made" / "cells")
    assert not missing
    return results.rows(study, cells, 0.95)


def test_rows_are_arms_and_ways_over_seeds(here: Path):
    made.study(here)
    made.whole(here)
    found = rows(here)
    assert [(r.arm, r.way, r.steps) for r in found] == [
        ("small", "DDIM", 5), ("small", "DDIM", 10), ("large", "DDIM", 5), ("large", "DDIM", 10), ("gan", "one pass", 1),
    ]  # fmt: skip
    assert found[0].mean("frechet") == pytest.approx(0.6)
    assert found[0].figures["seconds"].each == {0: 10.0, 1: 11.0, 2: 12.0}
    assert "bits_per_dim" not in found[0].figures
    assert found[4].failures == {2: "poor: Frechet 25.0 times the floor, above 10"}
    assert {seed: file.name for seed, file in found[1].strips.items()} == dict.fromkeys(range(3), "S10.png")


def test_best_and_cheapest_that_is_as_good(here: Path):
    made.study(here)
    made.whole(here)
    found = rows(here)
    top = best(found, "frechet")
    assert top is not None
    assert top.name == "large, DDIM, S=10"
    assert cheapest_as_good(found, top, "frechet").name == "large, DDIM, S=5"
    assert not as_good(found[1], top, "frechet"), "0.5 is above the interval of 0.3"
    fewest = best(found, "network_evaluations")
    assert fewest is not None
    assert fewest.arm == "gan"


def test_pictures_that_are_not_numbers_are_a_failure(here: Path):
    made.study(here)
    made.whole(here)
    made.cell(here, "large", 1, {5: 0.3, 10: None})
    row = next(r for r in rows(here) if (r.arm, r.steps) == ("large", 10))
    assert row.mean("frechet") is None
    assert row.failures == {1: "diverged: pictures that are not numbers"}


def test_a_training_that_failed_is_a_failed_seed_and_not_averaged_away(here: Path):
    made.study(here)
    made.whole(here)
    cells, why = here / "studies" / "made" / "cells", "it ended at step 27 of 60, where the loss is not a finite number"
    made.fail(here, "large", 1, why)
    (cells / "gan-2" / "metrics.json").unlink()
    study = spec.read("made")
    found, missing = results.read("made", study, cells)
    assert missing == [("large", 1), ("gan", 2)]
    failed = results.failures(missing, cells)
    assert failed == {("large", 1): why}
    of_arm = {row.arm: row for row in results.rows(study, found, 0.95, failed)}
    assert of_arm["large"].failures == {1: why}
    assert of_arm["large"].mean("frechet") is None
    assert of_arm["large"].figures["frechet"].each[1] is None
    assert of_arm["small"].failures == {}
    assert of_arm["small"].mean("frechet") is not None


def test_cells_judged_differently_are_refused(here: Path):
    made.study(here)
    made.whole(here)
    file = here / "studies" / "made" / "cells" / "gan-1" / "metrics.json"
    file.write_text(file.read_text().replace('"frechet": 0.2', '"frechet": 0.3'))
    with pytest.raises(UserError, match="judged by different networks or data"):
        rows(here)


def test_ways_to_draw_have_names():
    def name(**values: object) -> str:
        return sampling_label(Sampling(**values).model_dump(mode="json"))  # type: ignore[arg-type]

    assert name() == "ancestral"
    assert name(sampler="dpmpp_2m", spacing="log_snr") == "DPM-Solver++ 2M, log snr"
    assert name(variance="fixed_large") == "ancestral, fixed large"
    assert name(sampler="ddim", guidance_scale=2, guidance_interval=(0.2, 0.8)) == "DDIM, scale 2, between 0.2 and 0.8"
    assert name(clip=False) == "ancestral, no clip"

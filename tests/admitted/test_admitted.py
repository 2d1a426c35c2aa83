"""What the check admits, no later step refuses, and nothing crashes or is not a number.

200 combinations of each family by a fixed seed; ``STEPLADDER_ADMITTED=1000``, or ``python -m tests.admitted``, tries more.
"""

import os

import pytest
from pydantic import BaseModel, Field

from stepladder.params import Params, flatten
from tests.admitted import diffusion, language, outcome, values, walk

COUNT = int(os.environ.get("STEPLADDER_ADMITTED", 200))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("subject", [diffusion, language], ids=["diffusion", "language"])
def test_what_is_admitted_is_trained_and_used(subject):
    found = outcome.run(subject.SPACE, subject.one, seed=0, count=COUNT)
    assert not found.wrong, "\n".join(found.wrong)
    assert found.counts["fine"] == COUNT


@pytest.mark.parametrize("subject", [diffusion, language], ids=["diffusion", "language"])
def test_the_walk_visits_every_field_of_its_sections(subject):
    """A new field is drawn by itself: whatever is not held has had another value than the start's."""
    seen: dict[str, set[str]] = {}
    for _, params, _ in walk.several(subject.SPACE, seed=0, count=600):
        for key, value in flatten(params).items():
            seen.setdefault(key, set()).add(str(value))
    free = [
        key for key, field in values.fields(Params)
        if key.split(".")[0] in subject.SPACE.sections and key not in subject.SPACE.held
    ]  # fmt: skip
    assert free
    assert not [key for key in free if len(seen[key]) < 2]


def test_values_keep_to_the_fields_own_bounds():
    import random

    class Own(BaseModel):
        whole: int = Field(3, ge=2, lt=9)
        share: float = Field(0.5, gt=0, le=1)
        sides: tuple[int, ...] = Field((1,), min_length=1, max_length=2)

    chance, known = random.Random(0), dict(values.fields(Own))
    for _ in range(300):
        drawn = {key: values.value(key, field, chance, 100, {}) for key, field in known.items()}
        Own.model_validate(drawn)

    class Strange(BaseModel):
        when: dict[str, int] = {}

    with pytest.raises(TypeError, match="nobody has said"):
        values.value("when", Strange.model_fields["when"], chance, 1, {})

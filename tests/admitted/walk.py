"""Random admitted parameters: a walk from small valid ones, a few keys at a time, that stays where the check lets it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stepladder.errors import UserError
from stepladder.params import Params, build, merge
from tests.admitted.values import USUAL_MOST, fields, nested, value


@dataclass(frozen=True)
class Space:
    """What is varied.

    Attributes:
        start: small valid parameters, by dotted key.
        sections: of which every leaf is varied.
        held: keys that stay as ``start`` has them.
        most: of numbers, by dotted key or its last part, where the schema's own would make a training that takes long, or
            diverges for reasons of its own (learning rates).
        words: what texts may be, by dotted key.
        together: keys that only make sense together: functions that draw them at once.
    """

    start: Mapping[str, Any]
    sections: Sequence[str]
    held: Sequence[str] = ()
    most: Mapping[str, float] = field(default_factory=dict)
    words: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    together: Sequence[Callable[[random.Random], dict[str, Any]]] = ()


def admitted(space: Space, chance: random.Random, changes: tuple[int, int] = (2, 14)) -> Params:
    """Parameters that the check admits, some way from the start."""
    known = {
        key: field for key, field in fields(Params) if key.split(".")[0] in space.sections and key not in space.held
    }
    values = merge(Params().model_dump(mode="json"), nested(space.start))
    params = build(values)
    for _ in range(chance.randint(*changes)):
        if space.together and chance.random() < 0.35:
            change = chance.choice(space.together)(chance)
        else:
            keys = [chance.choice(list(known))]
            if chance.random() < 0.4:  # with another of its section
                keys.append(
                    chance.choice([key for key in known if key.rpartition(".")[0] == keys[0].rpartition(".")[0]])
                )
            change = {key: _drawn(space, key, known[key], chance) for key in keys}
        changed = merge(values, nested(change))
        try:
            params = build(changed)
        except UserError:
            continue
        values = changed
    return params


def _drawn(space: Space, key: str, field: Any, chance: random.Random) -> Any:
    most = space.most.get(key, space.most.get(key.rpartition(".")[2]))
    drawn = value(key, field, chance, int(most or USUAL_MOST), space.words)
    return min(drawn, most) if most is not None and isinstance(drawn, float) else drawn


def of_training(prefix: str) -> Callable[[random.Random], dict[str, Any]]:
    """What of a training only makes sense together."""

    def draw(chance: random.Random) -> dict[str, Any]:
        return chance.choice(
            [
                {f"{prefix}.ema_half_life": 0.0, f"{prefix}.average_last": chance.choice([1, 2])},
                {f"{prefix}.stop_on": "loss", f"{prefix}.patience": 1, f"{prefix}.validate_every": 1},
                {f"{prefix}.schedule": "linear", f"{prefix}.final_learning_rate": chance.choice([0.1, 1.0])},
            ]
        )

    return draw


def several(space: Space, seed: int, count: int) -> Iterator[tuple[int, Params, random.Random]]:
    """``count`` numbers, their parameters, and chance for what is left to choose; each a function of ``seed`` and number."""
    for number in range(count):
        chance = random.Random(f"{seed}-{number}")
        yield number, admitted(space, chance), chance

"""Random values of any section of the spec, from its schema alone: a new field is drawn without a word here."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

import annotated_types as bounds
from pydantic import BaseModel
from pydantic.fields import FieldInfo

USUAL_MOST = 16  # of an integer without a bound of its own, and of one whose bound would make a large network


def fields(kind: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every leaf below ``kind`` by its dotted key."""
    for name, field in kind.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def value(key: str, field: FieldInfo, chance: random.Random, most: int, words: Mapping[str, Sequence[Any]]) -> Any:
    """A value that the field's own bounds allow.

    Args:
        most: of an integer, where its bound is higher.
        words: what a text may be, by dotted key or its last part.
    """
    known = words.get(key, words.get(key.rpartition(".")[2], ()))
    return _value(field.annotation, list(field.metadata), chance, most, known or [field.get_default()])


def _value(annotation: Any, rules: list[Any], chance: random.Random, most: int, known: Sequence[Any]) -> Any:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _value(inner[0], [*inner[1:], *rules], chance, most, known)
    if origin is Literal:
        return chance.choice(inner)
    if annotation is bool:
        return chance.random() < 0.5
    if annotation is int:
        return _whole(*_ends(rules), chance, most)
    if annotation is float:
        return _real(*_ends(rules), chance)
    if annotation is str:
        return chance.choice(known)
    if origin is tuple:
        return _tuple(inner, rules, chance, most, known)
    raise TypeError(f"nobody has said how to draw a value of {annotation}")


def _tuple(inner: Any, rules: list[Any], chance: random.Random, most: int, known: Sequence[Any]) -> list[Any]:
    if inner[-1] is not Ellipsis:
        return [_value(part, [], chance, most, known) for part in inner]
    if inner[0] is str:
        return list(chance.choice(known))
    shortest = next((rule.min_length for rule in rules if getattr(rule, "min_length", None) is not None), 0)
    longest = next((rule.max_length for rule in rules if getattr(rule, "max_length", None) is not None), 3)
    return [
        _value(inner[0], [], chance, most, known) for _ in range(chance.randint(shortest, min(longest, shortest + 3)))
    ]


def _ends(rules: list[Any]) -> tuple[float, bool, float, bool]:
    """Least and whether it is taken itself, most and the same."""
    least, includes_least, largest, includes_largest = -math.inf, True, math.inf, True
    for rule in rules:
        for part in rule if isinstance(rule, bounds.GroupedMetadata) else [rule]:
            if isinstance(part, bounds.Ge):
                least, includes_least = part.ge, True  # type: ignore[assignment]
            elif isinstance(part, bounds.Gt):
                least, includes_least = part.gt, False  # type: ignore[assignment]
            elif isinstance(part, bounds.Le):
                largest, includes_largest = part.le, True  # type: ignore[assignment]
            elif isinstance(part, bounds.Lt):
                largest, includes_largest = part.lt, False  # type: ignore[assignment]
    return least, includes_least, largest, includes_largest


def _whole(
    least: float, includes_least: bool, largest: float, includes_largest: bool, chance: random.Random, most: int
) -> int:
    low = 0 if least == -math.inf else int(least) + (not includes_least)
    high = max(low, min(most, most if largest == math.inf else int(largest) - (not includes_largest)))
    return chance.choice([low, high, chance.randint(low, high), chance.randint(low, min(low + 4, high))])


def _real(least: float, includes_least: bool, largest: float, includes_largest: bool, chance: random.Random) -> float:
    """The ends among them, and small numbers where the least is 0."""
    low, high = max(least, -10.0), min(largest, 10.0)
    width = high - low
    near = [low if includes_least else low + 1e-3 * width, high if includes_largest else high - 1e-3 * width]
    drawn = [low + width * chance.uniform(1e-3, 1 - 1e-3), low + width * 10 ** chance.uniform(-3, -1)]
    return chance.choice([*near, *drawn, *drawn])


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """``{"a.b": 1}`` as ``{"a": {"b": 1}}``."""
    result: dict[str, Any] = {}
    for key, given in values.items():
        *path, last = key.split(".")
        inner = result
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = given
    return result


__all__ = ["USUAL_MOST", "fields", "nested", "value"]

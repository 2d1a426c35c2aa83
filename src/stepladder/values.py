"""Values as YAML and JSON have them, before anybody has checked which keys there are and what they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    Value: TypeAlias = bool | int | float | str | list["Value"] | dict[str, "Value"] | None
else:  # a section of parameters with a field of it takes what it is given, and leaves the refusing to whoever reads it
    Value = Any
Values: TypeAlias = dict[str, Value]
"""By key; nested where a value is one of them again."""

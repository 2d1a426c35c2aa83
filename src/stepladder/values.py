"""Values as YAML and JSON have them, before their keys and types are checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    Value: TypeAlias = bool | int | float | str | list["Value"] | dict[str, "Value"] | None
else:  # a section of parameters with such a field accepts any value; the code that reads it checks it
    Value = Any
Values: TypeAlias = dict[str, Value]
"""Values by key, which may be nested."""

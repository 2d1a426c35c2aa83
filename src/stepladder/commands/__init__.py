"""The verbs of ``stepladder``, a module a subject, each thin and importing what is heavy when it is called."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Protocol

Function = Callable[[argparse.Namespace], int]


class Verb(Protocol):
    """Adds a verb to the command line; a subject's ``add`` is given one."""

    def __call__(self, name: str, function: Function, help: str) -> argparse.ArgumentParser: ...

"""The verbs of ``stepladder``, one module for each subject; heavy imports happen when a verb is called."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Protocol

Function = Callable[[argparse.Namespace], int]


class Verb(Protocol):
    """Adds a verb to the command line; each subject's ``add`` gets it as its argument."""

    def __call__(self, name: str, function: Function, help: str) -> argparse.ArgumentParser: ...

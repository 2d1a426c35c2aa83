"""Lines from a file, a pipe or a hand."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from stepladder.errors import UserError

TOGETHER = 256  # lines given at once, at most


def arriving(file: Path | None, prompt: str = "> ") -> Iterator[list[str]]:
    """Lines of ``file``, or of standard input, as many at once as have arrived.

    From a file these are ``TOGETHER``; from a program that writes now and then, what it has written; at a terminal, where
    ``prompt`` asks for it, one. The end of the input ends it, as Ctrl-D does.

    Raises:
        UserError: ``file`` cannot be read.
    """
    if file is None and sys.stdin.isatty():
        yield from ([line] for line in _typed(prompt))
        return
    try:
        descriptor = sys.stdin.fileno() if file is None else os.open(file, os.O_RDONLY)
        yield from _read(descriptor)
    except OSError as error:
        if isinstance(error, BrokenPipeError):  # not of this file, but of what reads the answers
            raise
        raise UserError(f"{file or 'Standard input'} cannot be read ({error.strerror}); name a text file.") from None


def _typed(prompt: str) -> Iterator[str]:
    """What is typed, line by line, with the keys that edit a line where Python has them."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401
    try:
        while True:
            yield input(prompt if sys.stdout.isatty() else "")
    except EOFError:
        print(file=sys.stderr)
    except KeyboardInterrupt:
        print(file=sys.stderr)
        raise


def _read(descriptor: int) -> Iterator[list[str]]:
    rest = b""
    while more := os.read(descriptor, 1 << 16):
        *complete, rest = (rest + more).split(b"\n")
        lines = [line.decode("utf-8", errors="replace").rstrip("\r") for line in complete]
        yield from (lines[i : i + TOGETHER] for i in range(0, len(lines), TOGETHER))
    if rest:
        yield [rest.decode("utf-8", errors="replace").rstrip("\r")]

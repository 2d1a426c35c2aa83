"""Reads lines from a file, a pipe or a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from stepladder.errors import UserError

TOGETHER = 256  # lines in one list, at most


def arriving(file: Path | None, prompt: str = "> ") -> Iterator[list[str]]:
    """Lists of lines of ``file`` or standard input, each with the lines that have arrived so far.

    From a file these are ``TOGETHER``; from a program, the lines that it has written; at a terminal, one line after each
    ``prompt``. It ends at the end of the input, or with Ctrl-D.

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
        if isinstance(error, BrokenPipeError):  # from the reader of the output, not from this file
            raise
        raise UserError(f"{file or 'Standard input'} cannot be read ({error.strerror}); name a text file.") from None


def _typed(prompt: str) -> Iterator[str]:
    """The lines that are typed, with readline's editing keys where Python has it."""
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

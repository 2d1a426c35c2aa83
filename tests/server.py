"""A server started for a test.

What it says goes to a file: a pipe that nobody reads fills up, and who writes into it then stands still.
"""

import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def start(command: Sequence[str], log: Path, ready: str, **how: Any) -> tuple[subprocess.Popen[bytes], str]:
    """Start ``command`` and wait until a line begins with the pattern ``ready``; the process, and what it has said so far."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, **how)
    while True:
        ended = process.poll() is not None
        said = log.read_text(encoding="utf-8")
        lines = said[: said.rfind("\n") + 1]
        if re.search(f"^(?:{ready})", lines, re.M):
            return process, lines
        assert not ended, f"it ended with exit code {process.returncode}: {said}"
        time.sleep(0.05)

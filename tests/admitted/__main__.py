"""``python -m tests.admitted diffusion|language [--count 1000] [--seed 0] [--only 17 ...]``: what becomes of them, counted."""

from __future__ import annotations

import argparse
import logging
import sys
import time

from tests.admitted import diffusion, language, outcome

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
parser = argparse.ArgumentParser()
parser.add_argument("family", choices=["diffusion", "language"])
parser.add_argument("--count", type=int, default=1000)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--only", type=int, nargs="*", default=[])
given = parser.parse_args()
start = time.monotonic()
subject = {"diffusion": diffusion, "language": language}[given.family]
outcomes = outcome.run(subject.SPACE, subject.one, given.seed, given.count, tuple(given.only))
print(f"{given.family}: {dict(outcomes.counts)} in {time.monotonic() - start:.0f} s")
sys.exit(bool(outcomes.wrong))

"""What became of admitted parameters: fine, or one of the four things that must not be."""

from __future__ import annotations

import functools
import gc
import json
import math
import random
import shutil
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from stepladder.errors import UserError
from stepladder.journal import record
from stepladder.params import Params, flatten
from stepladder.training import worker
from tests.admitted.walk import Space, several


class Refused(Exception):
    """By the check against the card, which is where it belongs: these parameters do not count."""


class NotANumber(Exception):
    pass


@dataclass
class Outcomes:
    """Counts, and for each combination that went wrong its number, what it was and the parameters that were changed."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def add(self, number: int, params: Params, found: str, why: str = "") -> None:
        self.counts[found] += 1
        if found not in ("fine", "refused by the check"):
            self.wrong.append(f"#{number} {found}: {why}\n    {json.dumps(_changed(params))}")
            print(self.wrong[-1], flush=True)


def of(run: Callable[[], None]) -> tuple[str, str]:
    """What becomes of ``run()``, and why."""
    stage.over = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run()
    except Refused as error:
        return "refused by the check", str(error)
    except UserError as error:
        return f"refused {'after' if stage.over else 'before'} training", str(error)
    except NotANumber as error:
        return "not a number", str(error)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return "crashed", f"{type(error).__name__} {error} ({Path(where.filename).name}:{where.lineno})"
    return "fine", ""


@dataclass
class Stage:
    """Whether the training is over: a refusal afterwards costs the most."""

    over: bool = False


stage = Stage()


def train(folder: Path, family: str, params: Params, data: Path, timesteps: int | None = None) -> Path:
    """The real worker, in this process; the model's folder. Raises ``NotANumber`` where a figure of the journal is none."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    spec = {
        "family": family, "name": family, "params": params.model_dump(mode="json"), "timesteps": timesteps,
        "steps": 2, "data": str(data), "header": {},
    }  # fmt: skip
    (folder / "spec.json").write_text(json.dumps(spec))
    worker.train(folder)
    stage.over = True
    for line in record.read(folder / "journal.jsonl"):
        for name, figure in line.get("metrics", {}).items():
            if isinstance(figure, (int, float)) and not math.isfinite(figure):
                raise NotANumber(f"{name} is {figure} at step {line['step']}")
    figures = json.loads((folder / "model" / "figures.json").read_text())
    for name, figure in figures.items():
        if isinstance(figure, float) and not math.isfinite(figure):
            raise NotANumber(f"{name} is {figure} at the end")
    return folder / "model"


def finite(what: str, values: Any) -> None:
    """Raise ``NotANumber`` where one of ``values`` is none."""
    if not torch.as_tensor(values, dtype=torch.float64).isfinite().all():
        raise NotANumber(what)


def run(
    space: Space, one: Callable[[Params, random.Random, Path], None], seed: int, count: int, only: tuple[int, ...] = ()
) -> Outcomes:
    """What becomes of ``count`` combinations of ``space`` that the checks admit, by ``one``; with ``only`` of those numbers."""
    torch.set_num_threads(1)
    gc.freeze()  # what is imported: collecting is looking through all there is
    outcomes, admitted = Outcomes(), 0
    with tempfile.TemporaryDirectory(prefix="admitted-") as temporary:
        for number, params, chance in several(space, seed, 100 * count):
            if only and number not in only:
                continue
            found, why = of(functools.partial(one, params, chance, Path(temporary)))
            outcomes.add(number, params, found, why)
            gc.collect()  # trainers and tasks know each other
            admitted += found != "refused by the check"
            if admitted == count or (only and number == max(only)):
                break
    return outcomes


@contextmanager
def checking() -> Iterator[None]:
    """What is refused in here is refused by the check."""
    try:
        yield
    except UserError as error:
        raise Refused(str(error)) from None


def _changed(params: Params) -> dict[str, Any]:
    """What is not as in ``params.yaml``; a path stands for itself."""
    usual = flatten(Params())
    return {key: value for key, value in flatten(params).items() if value != usual[key]}

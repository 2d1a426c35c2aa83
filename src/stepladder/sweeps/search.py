"""Lets Optuna choose the points: its study is in a database, so that a killed sweep goes on where it stopped.

The database is ``sweeps/NAME/optuna.db``, or what ``STEPLADDER_OPTUNA_STORAGE`` names (a URL of SQLAlchemy's). A changed space
or metric begins a new study in it; existing children are recognised by their content.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from stepladder.errors import UserError
from stepladder.sweeps import space, spec
from stepladder.sweeps.results import Row
from stepladder.sweeps.space import Dimension, Point
from stepladder.sweeps.spec import Sweep

if TYPE_CHECKING:
    from optuna import Study, Trial

STORAGE = "STEPLADDER_OPTUNA_STORAGE"
Make = Callable[[Point, Callable[[list[float]], bool]], Row | str]


def run(name: str, sweep: Sweep, jobs: int, make: Make) -> None:
    """Bring the study to ``sweep.trials`` finished trials, ``jobs`` at once; ``make`` trains the point of a trial.

    Trials that were running when the sweep was killed come first.

    Raises:
        UserError: Optuna is not installed, or its database cannot be used.
    """
    from optuna.trial import Trial, TrialState

    study, lock, stopped = open_study(name, sweep), threading.Lock(), threading.Event()
    begun_trials = [Trial(study, t._trial_id) for t in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))]
    finished = len(study.get_trials(deepcopy=False)) - len(begun_trials)
    remaining = list(range(max(0, sweep.trials - finished - len(begun_trials))))

    def run_trial(resumed: Trial | None) -> None:
        with lock:
            if stopped.is_set():
                return
            trial = resumed or study.ask()
            point = {dimension.key: _suggested(trial, dimension) for dimension in sweep.dimensions}
            trial.set_user_attr("point", space.identity(point))
        reported = 0

        def prune(figures: list[float]) -> bool:
            nonlocal reported
            with lock:
                for place, figure in enumerate(figures[reported:], reported + 1):
                    trial.report(-sweep.sign * figure, place)
                reported = len(figures)
                return sweep.prune.by != "none" and trial.should_prune()

        try:
            sweep.params(point, sweep.seeds[0])
            result = make(point, prune)
        except UserError as error:  # the parameters refuse this combination
            print(f"{name}: {space.label(point)}: failed: {error}", flush=True)
            result = Row(point, None)  # type: ignore[arg-type]
        except BaseException:
            stopped.set()
            raise
        with lock:
            if isinstance(result, str):
                study.tell(trial.number, state=TrialState.PRUNED)
            elif result.figure and result.figure.mean is not None:
                study.tell(trial.number, result.figure.mean)
            elif result.figure is None or any(why.startswith("failed") for why in result.unfinished.values()):
                study.tell(trial.number, state=TrialState.FAIL)
            else:  # it was stopped: it stays marked as running, and comes first the next time
                stopped.set()

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(run_trial, [*begun_trials, *(None for _ in remaining)]))


def open_study(name: str, sweep: Sweep) -> Study:
    """Optuna's study of this sweep, created where it is missing."""
    try:
        import optuna
    except ImportError:
        raise UserError(
            "Optuna is not installed; `pip install 'stepladder[pipeline]'` brings it; or take method: random."
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    address = os.environ.get(STORAGE) or f"sqlite:///{spec.folder(name).resolve() / 'optuna.db'}"
    content = [sweep.family, sweep.space, sweep.base, sweep.preset, sweep.metric, sweep.sign, list(sweep.seeds)]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
    try:
        study = optuna.create_study(
            storage=optuna.storages.RDBStorage(address),
            study_name=f"{name}-{digest}",
            direction="maximize" if sweep.sign > 0 else "minimize",
            pruner=_pruner(sweep),
            load_if_exists=True,
        )
        trial_count = len(study.get_trials(deepcopy=False))  # a resumed sweep must not repeat random numbers
        study.sampler = optuna.samplers.TPESampler(seed=sweep.seed + trial_count, constant_liar=True)
        return study
    except Exception as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(
            f"Optuna's database cannot be used ({reason[:200]}); check {STORAGE}, or {spec.folder(name)}."
        ) from None


def _pruner(sweep: Sweep) -> Any:
    from optuna import pruners

    prune = sweep.prune
    if prune.by == "median":
        # the first validation is number 1, and Optuna prunes none up to n_warmup_steps
        return pruners.MedianPruner(n_startup_trials=prune.startup_trials, n_warmup_steps=prune.warmup)
    if prune.by == "successive_halving":
        return pruners.SuccessiveHalvingPruner(min_resource=max(1, prune.warmup), reduction_factor=prune.factor)
    return pruners.NopPruner()


def _suggested(trial: Trial, dimension: Dimension) -> Any:
    if dimension.choices:
        texts = [json.dumps(choice) for choice in dimension.choices]
        return json.loads(str(trial.suggest_categorical(dimension.key, texts)))
    if dimension.integer:
        step = int(dimension.step) or 1
        return trial.suggest_int(dimension.key, int(dimension.low), int(dimension.high), step=step, log=dimension.log)
    return trial.suggest_float(
        dimension.key, dimension.low, dimension.high, step=dimension.step or None, log=dimension.log
    )

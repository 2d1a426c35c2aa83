"""Estimates time and memory of the work from a few steps of each distinct training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stepladder.errors import UserError
from stepladder.launching import trial
from stepladder.launching.trial import Cost
from stepladder.planning.work import Piece, Training, trainings
from stepladder.training.families import FAMILIES


@dataclass(frozen=True)
class Estimate:
    """The costs of the trainings that are to be done; ``unknown``: why some could not be tried."""

    costs: dict[str, Cost]
    unknown: dict[str, str]

    def of(self, training: Training) -> float | None:
        """Seconds that the rest of ``training`` takes; ``None`` where that is unknown."""
        cost = self.costs.get(trial.cost_key(training.family, training.params, training.timesteps))
        if cost is None:
            return None
        settings = FAMILIES[training.family].training(training.params)
        return cost.seconds(training.steps - training.done, settings.validate_every)


def estimate(pieces: Sequence[Piece], say: Callable[[str], None]) -> Estimate:
    """Try each distinct training of ``pieces`` whose data is there."""
    costs: dict[str, Cost] = {}
    unknown: dict[str, str] = {}
    distinct = {trial.cost_key(t.family, t.params, t.timesteps): t for t in trainings(pieces)}
    for number, (trial_key, training) in enumerate(distinct.items(), 1):
        name = training.family if training.timesteps is None else f"{training.family} T={training.timesteps}"
        if not (training.data / "card.json").exists():
            unknown[trial_key] = f"{name}: {training.data} is not prepared yet"
            continue
        say(f"trying {name} for {trial.STEPS} steps ({number} of {len(distinct)})")
        try:
            costs[trial_key] = trial.measure(training.family, training.params, training.data, training.timesteps)
        except UserError as error:
            unknown[trial_key] = f"{name}: {error}"
    return Estimate(costs, unknown)


def summary(pieces: Sequence[Piece], estimated: Estimate | None, jobs: int) -> list[str]:
    """A line for each piece, then the sums."""
    width = max((len(piece.name) for piece in pieces), default=0)
    lines = []
    for piece in pieces:
        seconds = estimated.of(piece.training) if estimated and piece.training else None
        duration_text = f", {duration(seconds)}" if seconds is not None else ""
        lines.append(f"{piece.name.ljust(width)}  {piece.state}{duration_text}{f' ({piece.why})' if piece.why else ''}")
    states = {state: sum(piece.state == state for piece in pieces) for state in dict.fromkeys(p.state for p in pieces)}
    lines += ["", f"{len(pieces)} in all: " + ", ".join(f"{count} {state}" for state, count in states.items())]
    to_train = list(trainings(pieces))
    if estimated is None or not to_train:
        return lines
    timed = [(t, seconds) for t in to_train if (seconds := estimated.of(t)) is not None]
    lines += [f"not estimated: {why}" for why in estimated.unknown.values()]
    if timed:
        costs = [estimated.costs[trial.cost_key(t.family, t.params, t.timesteps)] for t, _ in timed]
        total, largest = sum(seconds for _, seconds in timed), max(seconds for _, seconds in timed)
        at_once = min(jobs, len(timed))
        lines.append(
            f"{len(timed)} trainings: {duration(max(total / at_once, largest))}"
            + (f" with {at_once} at once that do not slow each other down" if at_once > 1 else "")
            + "; preparing, judging and reports come on top"
        )
        gpu = max(cost.gpu_memory for cost in costs)
        lines.append(
            f"memory {at_once * max(c.memory for c in costs) / 1e9:.2f} GB"
            + (f", on the device {gpu / 1e9:.2f} GB" if gpu else "")
            + f"; disk {sum(c.model for c in costs) / 1e6:.1f} MB for models, at most "
            f"{2 * at_once * max(c.checkpoint for c in costs) / 1e6:.1f} MB for checkpoints meanwhile"
        )
    return lines


def duration(seconds: float) -> str:
    """``about 2 min 10 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return "about " + (f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s")

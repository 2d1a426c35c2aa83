"""The families of models that can be trained: the module of each, and what its result depends on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stepladder.dependencies import Stage
from stepladder.params import Params, Training
from stepladder.text_tasks.tasks import TASKS

ADAPTED = ("model", "method", "rank", "layers", "full_learning_rate", "unfreeze", "training")
NOISE = ("process", "schedule", "log_snr", "betas", "zero_terminal_snr")
WORKER = "training.worker:train"


@dataclass(frozen=True)
class Family:
    """One family.

    Attributes:
        module: has ``experiment(params, data, *, rank, world_size) -> Experiment``; in diffusion also ``timesteps``.
        reads: sections of the parameters, or single keys, that its result depends on.
        data: kind of the prepared data that it learns from: images, own or text.
        training: the section that says how it is trained.
        unfreeze: parts of the network that are frozen at first, see ``unfreezing``.
        base: folder of the model that its training starts from; empty: from scratch.
        further: code that its ``experiment`` loads by name.
    """

    module: str
    reads: tuple[str, ...]
    data: str
    training: Callable[[Params], Training]
    unfreeze: Callable[[Params], tuple[str, ...]] = lambda p: ()
    base: Callable[[Params], str] = lambda p: ""
    further: tuple[str, ...] = ()

    @property
    def stage(self) -> Stage:
        """The functions that decide its result, and the parameters that they read."""
        return Stage((WORKER, f"{self.module.removeprefix('stepladder.')}:experiment", *self.further), self.reads)


FAMILIES = {
    "diffusion": Family(
        "stepladder.diffusion.training.task", ("seed", "diffusion"), "images", lambda p: p.diffusion.training, unfreeze=lambda p: p.diffusion.unfreeze
    ),
    "adapted": Family(
        "stepladder.diffusion.adaptation", ("seed", *(f"adaptation.{key}" for key in ADAPTED)), "own", lambda p: p.adaptation.method_training,
        unfreeze=lambda p: p.adaptation.unfreeze if p.adaptation.method == "full" else (), base=lambda p: p.adaptation.model,
    ),
    "noisy-classifier": Family(
        "stepladder.diffusion.classifier_task", ("seed", "noisy_classifier", *(f"diffusion.{key}" for key in NOISE)), "images", lambda p: p.noisy_classifier.training
    ),
    "feature-net": Family("stepladder.evaluation.feature_task", ("seed", "feature_net"), "images", lambda p: p.feature_net.training),
    "transformer": Family(
        "stepladder.transformer.training.task", ("seed", "transformer"), "text", lambda p: p.transformer.training, base=lambda p: p.transformer.base,
        further=tuple(task.model.experiment for task in TASKS.values()),
    ),
    "masked-lm": Family(
        "stepladder.transformer.pretraining_task", ("seed", "transformer", "classification.pretraining"), "text", lambda p: p.classification.pretraining
    ),
    "vae": Family("stepladder.baselines.vae", ("seed", "vae"), "images", lambda p: p.vae.training),
    "gan": Family("stepladder.baselines.gan", ("seed", "gan"), "images", lambda p: p.gan.training),
}  # fmt: skip

"""The families of models that can be trained: where each stands, and what its result depends on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stepladder.params import Params, Training


@dataclass(frozen=True)
class Family:
    """One family.

    Attributes:
        module: has ``experiment(params, data, rank, world_size, timesteps) -> Experiment``.
        sections: of the spec that its result depends on.
        code: packages or modules of ``stepladder`` that its result depends on, beside ``data`` and ``training``.
        training: the section that says how it is trained.
        unfreeze: parts of the network that are frozen at first, see ``unfreezing``.
        base: folder of the model that its training starts from; empty: from scratch.
    """

    module: str
    sections: tuple[str, ...]
    code: tuple[str, ...]
    training: Callable[[Params], Training]
    unfreeze: Callable[[Params], tuple[str, ...]] = lambda p: ()
    base: Callable[[Params], str] = lambda p: ""


FAMILIES = {
    "diffusion": Family(
        "stepladder.diffusion.task", ("seed", "diffusion"), ("diffusion", "transformer"), lambda p: p.diffusion.training,
        unfreeze=lambda p: p.diffusion.unfreeze,
    ),
    "adapted": Family(
        "stepladder.diffusion.adaptation", ("seed", "adaptation"), ("diffusion", "transformer"),
        lambda p: p.adaptation.method_training,
        unfreeze=lambda p: p.adaptation.unfreeze if p.adaptation.method == "full" else (),
        base=lambda p: p.adaptation.model,
    ),
    "noisy-classifier": Family(
        "stepladder.diffusion.classifier_task", ("seed", "noisy_classifier", "diffusion"), ("diffusion", "transformer"),
        lambda p: p.noisy_classifier.training,
    ),
    "feature-net": Family(
        "stepladder.evaluation.feature_net", ("seed", "feature_net"), ("evaluation/feature_net",),
        lambda p: p.feature_net.training,
    ),
    "transformer": Family(
        "stepladder.transformer.task", ("seed", "transformer"), ("transformer",), lambda p: p.transformer.training,
        base=lambda p: p.transformer.base,
    ),
    "masked-lm": Family(
        "stepladder.transformer.masked_lm_task", ("seed", "transformer", "classification"), ("transformer",),
        lambda p: p.classification.pretraining,
    ),
    "vae": Family("stepladder.baselines.vae", ("seed", "vae"), ("baselines",), lambda p: p.vae.training),
    "gan": Family("stepladder.baselines.gan", ("seed", "gan"), ("baselines",), lambda p: p.gan.training),
}  # fmt: skip

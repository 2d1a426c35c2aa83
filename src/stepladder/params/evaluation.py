"""How models are judged, and the sweep that they are judged over."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from stepladder.params.section import Section, Training


class FeatureNet(Section):
    """The classifier whose features and verdicts judge generated pictures."""

    steps: int = Field(600, ge=1, description="optimiser steps")
    batch_size: int = Field(128, ge=1, description="pictures a step")
    learning_rate: float = Field(3e-3, gt=0, le=1, description="peak learning rate")
    width: int = Field(16, ge=4, le=512, description="channels of the first level")
    features: int = Field(64, ge=2, le=2048, description="dimension of the features that distances are measured in")

    @model_validator(mode="after")
    def _groups_divide(self) -> FeatureNet:
        if self.width % 4:
            raise ValueError(
                f"feature_net.width={self.width} is not a multiple of 4, its groups of channels; change it to one"
            )
        return self

    @property
    def training(self) -> Training:
        """These values as a section of a training, with fixed values for what is not a parameter."""
        return Training(
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            warmup_steps=self.steps // 20,
            weight_decay=0.01,
            validate_every=self.steps,
        )


class Evaluation(Section):
    """How models are judged."""

    samples: int = Field(720, ge=10, description="pictures drawn at every (T, S)")
    bootstrap: int = Field(200, ge=10, le=100000, description="resamples behind each interval")
    confidence: float = Field(0.95, gt=0, lt=1, description="of the intervals")
    likelihood_images: int = Field(
        64, ge=0, le=100_000, description="held-out pictures whose bits/dim and loss by time are measured; 0: none"
    )
    likelihood_evaluations: int = Field(
        8192,
        ge=0,
        description="network evaluations spent on bits/dim, at most: a picture takes T, so fewer pictures at large T; 0: no limit",
    )
    rouge: bool = Field(False, description="of text.task=pairs that are summaries: ROUGE beside BLEU, chrF and TER")
    inception_weights: str = Field(
        "", description="file of Inception weights (TorchScript); empty: this data's feature network"
    )


class Sweep(Section):
    """The timestep sweep: one training for each T, sampled at each S <= T."""

    timesteps: tuple[Annotated[int, Field(ge=1, le=100_000)], ...] = Field(
        (10, 50, 200, 1000), min_length=1, description="numbers of training steps T"
    )
    sampling_steps: tuple[Annotated[int, Field(ge=1, le=100_000)], ...] = Field(
        (1, 2, 3, 5, 10, 20, 50, 100), min_length=1, description="numbers of sampling steps S; at each T those up to T"
    )

    @model_validator(mode="after")
    def _steps_fit(self) -> Sweep:
        for name in ("timesteps", "sampling_steps"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ValueError(f"{name} names a value twice: {list(values)}; name each once")
        if max(self.sampling_steps) > max(self.timesteps):
            raise ValueError(
                f"sampling_steps has S={max(self.sampling_steps)}, more than the largest T={max(self.timesteps)}; "
                "a chain of T steps can be sampled in at most T"
            )
        if min(self.sampling_steps) > min(self.timesteps):
            raise ValueError(
                f"timesteps has T={min(self.timesteps)}, at which no S of sampling_steps {list(self.sampling_steps)} "
                "can be sampled; add an S of at most that T"
            )
        return self

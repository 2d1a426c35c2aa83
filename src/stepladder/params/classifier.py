"""The classifier of noisy pictures, for guidance."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from stepladder.params.section import Section, Training

# keys that it shares with the diffusion model that it guides
PROCESS = ("process", "schedule", "log_snr", "betas", "zero_terminal_snr")


class NoisyClassifier(Section):
    """The classifier of noisy pictures that guides sampling (sampling.classifier_scale)."""

    train: bool = Field(
        False, description="trained in the main job, before pictures are judged: for sampling.classifier_scale above 0"
    )
    channels: int = Field(24, ge=8, le=512, description="channels of the first level")
    channel_mult: tuple[Annotated[int, Field(ge=1, le=16)], ...] = Field(
        (1, 2), min_length=1, max_length=6, description="channels of each level; each halves the side"
    )
    blocks: int = Field(1, ge=1, le=8, description="residual blocks a level")
    attention_resolutions: tuple[int, ...] = Field((4,), description="sides, in pixels, at which there is attention")
    heads: int = Field(4, ge=1, le=32, description="attention heads")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout in residual blocks")
    training: Training = Training(
        steps=600, batch_size=128, learning_rate=3e-3, warmup_steps=30, weight_decay=0.05, validate_every=300
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> NoisyClassifier:
        if any(self.channels * m % self.heads for m in self.channel_mult):
            raise ValueError(
                f"noisy_classifier.channels={self.channels} times channel_mult is not a multiple of heads={self.heads}; "
                "change one of them"
            )
        return self

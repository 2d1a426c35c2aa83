"""The base class of all sections, frozen and without unknown keys; and the section of a training."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Section(BaseModel):
    """A section of the parameters: no other keys, no change after it was checked."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Training(Section):
    """One training: optimiser, schedule, length."""

    steps: int = Field(1000, ge=1, description="optimiser steps")
    batch_size: int = Field(128, ge=1, description="global batch over all devices: pictures, or target tokens for text")
    accumulate: int = Field(1, ge=1, le=1024, description="micro-batches that make up one global batch")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="peak of the schedule")
    schedule: Literal["constant", "cosine", "inverse_sqrt", "linear", "noam"] = Field(
        "cosine",
        description="after warm-up; noam: inverse_sqrt whose peak is learning_rate / sqrt(d_model warmup_steps)",
    )
    final_learning_rate: float = Field(
        0.0, ge=0, le=1, description="of cosine and linear, at the end, as a share of the peak"
    )
    warmup_steps: int = Field(100, ge=0, description="linear warm-up, in steps")
    weight_decay: float = Field(0.0, ge=0, le=1, description="AdamW's, on matrices only")
    beta2: float = Field(0.999, gt=0, lt=1, description="Adam's second decay rate")
    gradient_clip: float = Field(1.0, ge=0, description="largest gradient norm; 0: no clipping")
    ema_half_life: float = Field(
        0.05, ge=0, le=1, description="half-life of the weights' average, as a share of the run; 0: none"
    )
    average_last: int = Field(
        0,
        ge=0,
        le=100,
        description="average of the weights at the last so many validations; 0: none (ema_half_life is the other)",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: bf16 where the device has it, else fp32"
    )
    validate_every: int = Field(250, ge=1, description="steps between validations")
    stop_on: Literal["none", "loss", "bleu"] = Field(
        "none",
        description="validation figure whose best weights are kept; bleu: of sentence pairs; none: the last weights",
    )
    patience: int = Field(
        0,
        ge=0,
        description="of stop_on: validations without a better figure after which training ends; 0: it never does",
    )

    @model_validator(mode="after")
    def _training_combinations(self) -> Training:
        if self.average_last and self.ema_half_life:
            raise ValueError(
                f"average_last={self.average_last} and ema_half_life={self.ema_half_life:g} are two averages of the weights; "
                "set one of them to 0"
            )
        if self.patience and self.stop_on == "none":
            raise ValueError(
                f"patience={self.patience} waits for a better figure; say which in stop_on, or set it to 0"
            )
        if self.schedule == "noam" and not self.warmup_steps:
            raise ValueError("schedule=noam divides by warmup_steps, which is 0; give 1 or more")
        if self.final_learning_rate and self.schedule not in ("cosine", "linear"):
            raise ValueError(
                f"final_learning_rate={self.final_learning_rate:g} with schedule {self.schedule}, which has no end; set it to 0, "
                "or schedule to cosine or linear"
            )
        return self

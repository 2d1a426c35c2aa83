"""What every part of the spec is made of: frozen, unknown keys forbidden; and a training's section."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Training(Section):
    """One training: optimiser, schedule, length."""

    steps: int = Field(1000, ge=1, description="optimiser steps")
    batch_size: int = Field(128, ge=1, description="global batch over all devices: pictures, or target tokens for text")
    accumulate: int = Field(1, ge=1, le=1024, description="micro-batches that make up one global batch")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="peak of the schedule")
    schedule: Literal["constant", "cosine", "inverse_sqrt", "linear"] = Field("cosine", description="after warm-up")
    warmup_steps: int = Field(100, ge=0, description="linear warm-up, in steps")
    weight_decay: float = Field(0.0, ge=0, le=1, description="AdamW's, on matrices only")
    beta2: float = Field(0.999, gt=0, lt=1, description="Adam's second decay rate")
    gradient_clip: float = Field(1.0, ge=0, description="largest gradient norm; 0: no clipping")
    ema_half_life: float = Field(
        0.05, ge=0, le=1, description="half-life of the weights' average, as a share of the run; 0: none"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: bf16 where the device has it, else fp32"
    )
    validate_every: int = Field(250, ge=1, description="steps between validations")

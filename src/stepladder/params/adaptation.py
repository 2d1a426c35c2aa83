"""Parameters for adapting a trained diffusion model to a small folder of the user's pictures."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stepladder.params.section import Section, Training


class Adaptation(Section):
    """A trained diffusion model, fine-tuned to a small folder of your own pictures."""

    model: str = Field(
        "models/diffusion/T200",
        min_length=1,
        description="folder of the model to adapt; the command also takes models:/NAME@ALIAS",
    )
    pictures: str = Field(
        "own", min_length=1, description="folder of your own pictures: one new class, or one subfolder a class"
    )
    held_out: float = Field(0.2, gt=0, lt=1, description="share of them held out, where there is no test folder")
    method: Literal["lora", "full"] = Field(
        "lora", description="low-rank changes of some layers, or all weights (the control)"
    )
    rank: int = Field(8, ge=1, le=1024, description="of the low-rank changes")
    layers: Literal["attention", "all"] = Field(
        "attention", description="what gets low-rank changes: attention, or all but the first and last layer"
    )
    full_learning_rate: float = Field(5e-4, gt=0, le=1, description="peak learning rate of method full")
    unfreeze: tuple[str, ...] = Field(
        (), description="method full: parts frozen at first, as diffusion.unfreeze, such as [middle, down]"
    )
    sampling_steps: int = Field(20, ge=1, le=100_000, description="S of the evaluation; at most the model's T")
    training: Training = Training(
        steps=400, batch_size=32, learning_rate=5e-3, warmup_steps=20, ema_half_life=0.1, validate_every=200
    )

    @property
    def method_training(self) -> Training:
        """``training`` with the learning rate of the method."""
        if self.method == "lora":
            return self.training
        return self.training.model_copy(update={"learning_rate": self.full_learning_rate})

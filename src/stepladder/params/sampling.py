"""How pictures are sampled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from stepladder.diffusion.processes.spacing import SPACINGS
from stepladder.diffusion.samplers.samplers import SAMPLER, SAMPLERS
from stepladder.params.section import Section

if TYPE_CHECKING:
    SamplerName = str
    Spacing = str
else:
    SamplerName, Spacing = Annotated[Literal[tuple(SAMPLERS)], SAMPLER], Literal[SPACINGS]

OF_SAMPLER = {key: sampler.name for sampler in SAMPLERS.values() for key in sampler.own}
"""Parameters that only one sampler uses, and the name of that sampler."""


class Sampling(Section):
    """How pictures are drawn from a trained model."""

    sampler: SamplerName = Field(
        "ancestral",
        description=", ".join(sampler.title for sampler in SAMPLERS.values())
        + "; ancestral is DDPM's, Heun EDM's; your own: module:name",
    )
    spacing: Spacing = Field("trailing", description="which S of the T steps are visited")
    variance: Literal["fixed_small", "fixed_large", "learned"] = Field(
        "fixed_small", description="of the ancestral sampler's steps; learned: where the model learned it"
    )
    eta: float = Field(0.0, ge=0, le=1, description="DDIM's noise: 0 deterministic, 1 as ancestral")
    churn: float = Field(0.0, ge=0, le=1000, description="Heun's noise (S_churn): 0 deterministic")
    guidance_scale: float = Field(1.0, ge=0, le=50, description="classifier-free guidance; 1: none")
    guidance_interval: tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]] = Field(
        (0.0, 1.0), description="guidance only at times between these, 0 data to 1 noise"
    )
    guidance_rescale: float = Field(
        0.0, ge=0, le=1, description="phi of Lin et al.: bring guided contrast back; 0: none"
    )
    classifier_scale: float = Field(0.0, ge=0, le=100, description="guidance by the noisy classifier; 0: none")
    clip: bool = Field(True, description="clip the predicted x_0 to the data's range at every step")
    dynamic_threshold: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of pixels that stays unclipped in dynamic thresholding, such as 0.995; 0: none",
    )

    @model_validator(mode="after")
    def _combinations(self) -> Sampling:
        if self.guidance_interval[0] > self.guidance_interval[1]:
            raise ValueError(
                f"sampling.guidance_interval={list(self.guidance_interval)} is empty; give a smaller time, then a larger one"
            )
        for name, sampler in OF_SAMPLER.items():
            value, default = getattr(self, name), type(self).model_fields[name].default
            if value != default and name not in SAMPLERS[self.sampler].own:
                raise ValueError(
                    f"sampling.{name}={value} with sampling.sampler={self.sampler}: only {sampler} uses it; set sampler to "
                    f"{sampler}, or {name} to {default}"
                )
        return self

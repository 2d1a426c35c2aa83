"""How a language model's output is decoded."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from stepladder.params.section import Section


class Decoding(Section):
    """How translations and continuations are found."""

    method: Literal["beam", "sample"] = Field("beam", description="search for the likeliest, or draw at random")
    beam_size: int = Field(4, ge=1, le=64, description="of beam: hypotheses kept; 1: greedy")
    length_penalty: float = Field(1.0, ge=0, le=5, description="of beam: alpha of Wu et al. (2016)")
    max_length: int = Field(128, ge=1, le=4096, description="longest output in tokens")
    temperature: float = Field(1.0, gt=0, le=100, description="of sample: logits are divided by it")
    top_k: int = Field(0, ge=0, description="of sample: only so many of the likeliest tokens; 1: greedy; 0: all")
    top_p: float = Field(1.0, gt=0, le=1, description="of sample: only the likeliest that make up so much; 1: all")
    min_p: float = Field(0.0, ge=0, le=1, description="of sample: only those so likely beside the likeliest; 0: all")
    repetition_penalty: float = Field(
        1.0, ge=0.1, le=10, description="of sample: what was said already becomes less likely; 1: not"
    )

    @model_validator(mode="after")
    def _of_sampling(self) -> Decoding:
        if self.method == "beam":
            for name in ("temperature", "top_k", "top_p", "min_p", "repetition_penalty"):
                if (value := getattr(self, name)) != type(self).model_fields[name].default:
                    raise ValueError(
                        f"decoding.{name}={value:g} with decoding.method=beam, which draws nothing; set method to sample"
                    )
        return self

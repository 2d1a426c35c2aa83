"""What a model needs, besides being better than the champion, to take its place; and when it counts as failed."""

from __future__ import annotations

from pydantic import Field

from stepladder.params.section import Section


class Promotion(Section):
    """What a model must be, beside better than the present one, to become @champion; one that counts as failed never does."""

    floor_ratio: float = Field(
        10.0, gt=1, le=1e6, description="pictures of a larger Frechet distance, in floors (real pictures'), failed"
    )
    coverage: float = Field(0.5, ge=0, le=1, description="pictures that cover less, as a share of the floor's, failed")
    accuracy: float = Field(
        0.8, ge=0, le=1, description="where fewer of the pictures are of the class asked for, they failed"
    )
    above_baseline: bool = Field(
        True,
        description="a language model that is not better than its baseline (copying, the commonest token or class) failed",
    )
    megabytes: float = Field(2000.0, gt=0, le=1e6, description="largest size of its files")
    seconds: float = Field(
        60.0, gt=0, le=3600, description="longest time in which a fresh process answers its input example"
    )

"""What a model must be, beside better than the champion, to take its place."""

from __future__ import annotations

from pydantic import Field

from stepladder.params.section import Section


class Promotion(Section):
    """What a model must be, beside better than the present one, to become @champion in the registry."""

    megabytes: float = Field(2000.0, gt=0, le=1e6, description="largest size of its files")
    seconds: float = Field(
        60.0, gt=0, le=3600, description="longest time in which a fresh process answers its input example"
    )

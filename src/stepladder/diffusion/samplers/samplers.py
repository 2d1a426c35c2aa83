"""The samplers there are: to add one, write its function in a file of this folder, and its record into that file's ``SAMPLERS``."""

from __future__ import annotations

from stepladder.diffusion.samplers import heun, multistep, one_step
from stepladder.diffusion.samplers.sampler import Sampler

SAMPLERS: dict[str, Sampler] = {
    sampler.name: sampler for file in (one_step, multistep, heun) for sampler in file.SAMPLERS
}

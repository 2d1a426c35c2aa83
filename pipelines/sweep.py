"""The flow ``sweep``: trains and judges the diffusion models of a timestep sweep."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas import State

from pipelines import form, selection
from pipelines.form import EMPTY, WORKSPACE, Diffusion, Preset, Sampling, Seed, Steps
from pipelines.hooks import HOOKS
from pipelines.run import run


@flow(name="sweep", **HOOKS)
@form.described
def sweep(
    preset: Preset = WORKSPACE,
    timesteps: Steps = EMPTY,
    sampling_steps: Steps = EMPTY,
    seed: Seed = EMPTY,
    diffusion: Diffusion = EMPTY,
    sampling: Sampling = EMPTY,
) -> State[None]:
    """Train a diffusion model for each number of timesteps T, draw from it in each number of sampling steps S, and judge
    the pictures.
    """
    fields = {
        "timesteps": timesteps, "sampling_steps": sampling_steps, "seed": seed, "diffusion": diffusion,
        "sampling": sampling,
    }  # fmt: skip
    return run(preset, fields, selection.of("evaluate", "diffusion"), title="sweep")

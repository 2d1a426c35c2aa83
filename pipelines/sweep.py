"""The flow ``sweep``: the diffusion models of a timestep sweep, trained and judged."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas import State

from pipelines import form, graph
from pipelines.form import SHOWN, WORKSPACE, Diffusion, Preset, Sampling, Seed, Steps
from pipelines.graph import Graph
from pipelines.hooks import HOOKS
from pipelines.run import run

LAST = "evaluate-diffusion"


@flow(name="sweep", **HOOKS)
@form.described
def sweep(
    preset: Preset = WORKSPACE,
    timesteps: Steps = SHOWN.sweep.timesteps,
    sampling_steps: Steps = SHOWN.sweep.sampling_steps,
    seed: Seed = SHOWN.seed,
    diffusion: Diffusion = SHOWN.diffusion,
    sampling: Sampling = SHOWN.sampling,
) -> State[None]:
    """Train a diffusion model for each number of timesteps T, draw from it in each number of sampling steps S, and judge
    the pictures.
    """
    fields = {
        "timesteps": timesteps, "sampling_steps": sampling_steps, "seed": seed, "diffusion": diffusion,
        "sampling": sampling,
    }  # fmt: skip
    return run(preset, fields, _diffusion_only, title="sweep")


def _diffusion_only(whole: Graph) -> Graph:
    return graph.complete(whole, graph.upstream(whole, graph.of_family(whole, LAST)))

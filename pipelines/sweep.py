"""The flow ``sweep``: the diffusion models of a timestep sweep, trained and judged."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas import State
from prefect.states import Failed

from pipelines import form, graph
from pipelines.form import SHOWN, WORKSPACE, Diffusion, Preset, Sampling, Seed, Steps
from pipelines.graph import Graph
from pipelines.run import run
from stepladder.errors import UserError

LAST = "evaluate-diffusion"


@flow(name="sweep")
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
    try:
        params = form.read(
            preset,
            {
                "seed": seed,
                "sweep": {"timesteps": timesteps, "sampling_steps": sampling_steps},
                "diffusion": diffusion,
                "sampling": sampling,
            },
        )
        return run(params, _diffusion_only, title="sweep")
    except UserError as error:
        return Failed(message=str(error))


def _diffusion_only(whole: Graph) -> Graph:
    return graph.complete(whole, graph.upstream(whole, [stage for stage in whole if graph.family(stage) == LAST]))

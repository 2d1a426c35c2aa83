"""The flow ``pipeline``: everything that ``dvc.yaml`` declares, both families of models, to the report."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas import State
from prefect.states import Failed

from pipelines import form
from pipelines.form import SHOWN, WORKSPACE, Decoding, Diffusion, Preset, Sampling, Seed, Steps, Transformer
from pipelines.run import run
from stepladder.errors import UserError


@flow(name="pipeline")
@form.described
def pipeline(
    preset: Preset = WORKSPACE,
    timesteps: Steps = SHOWN.sweep.timesteps,
    sampling_steps: Steps = SHOWN.sweep.sampling_steps,
    seed: Seed = SHOWN.seed,
    diffusion: Diffusion = SHOWN.diffusion,
    sampling: Sampling = SHOWN.sampling,
    transformer: Transformer = SHOWN.transformer,
    decoding: Decoding = SHOWN.decoding,
) -> State[None]:
    """Prepare the data, train and judge the timestep sweep and the translation Transformer, compare, register, report."""
    try:
        params = form.read(
            preset,
            {
                "seed": seed,
                "sweep": {"timesteps": timesteps, "sampling_steps": sampling_steps},
                "diffusion": diffusion,
                "sampling": sampling,
                "transformer": transformer,
                "decoding": decoding,
            },
        )
        return run(params, lambda whole: whole, title="pipeline")
    except UserError as error:
        return Failed(message=str(error))

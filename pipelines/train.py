"""The flow ``train``: trains the models of one family, and what they need."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas import State

from pipelines import form, selection
from pipelines.form import EMPTY, WORKSPACE, Diffusion, Preset, Seed, Steps, Trained, Transformer
from pipelines.hooks import HOOKS
from pipelines.run import run


@flow(name="train", **HOOKS)
@form.described
def train(
    models: Trained = "diffusion",
    preset: Preset = WORKSPACE,
    timesteps: Steps = EMPTY,
    seed: Seed = EMPTY,
    diffusion: Diffusion = EMPTY,
    transformer: Transformer = EMPTY,
) -> State[None]:
    """Prepare the data and train the models of one family, without judging them."""
    fields = {"timesteps": timesteps, "seed": seed, "diffusion": diffusion, "transformer": transformer}
    return run(
        preset,
        fields,
        selection.of("train", models),
        title="train",
    )

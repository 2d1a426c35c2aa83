"""The flow ``evaluate``: judges the models of one family, possibly with other settings than before."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas import State

from pipelines import form, selection
from pipelines.form import EMPTY, WORKSPACE, Decoding, Evaluated, Evaluation, Preset, Sampling, Seed, Steps
from pipelines.hooks import HOOKS
from pipelines.run import run


@flow(name="evaluate", **HOOKS)
@form.described
def evaluate(
    models: Evaluated = "diffusion",
    preset: Preset = WORKSPACE,
    timesteps: Steps = EMPTY,
    sampling_steps: Steps = EMPTY,
    seed: Seed = EMPTY,
    sampling: Sampling = EMPTY,
    decoding: Decoding = EMPTY,
    evaluation: Evaluation = EMPTY,
) -> State[None]:
    """Judge the models of one family: draw pictures or translate, and compare with held-out data. A model that there is
    not yet is trained first.
    """
    fields = {
        "timesteps": timesteps, "sampling_steps": sampling_steps, "seed": seed, "sampling": sampling,
        "decoding": decoding, "evaluation": evaluation,
    }  # fmt: skip
    return run(
        preset,
        fields,
        selection.of("evaluate", models),
        title="evaluate",
    )

"""The flow ``evaluate``: the models of one family judged, perhaps in another way than before."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas import State

from pipelines import form, graph
from pipelines.form import SHOWN, WORKSPACE, Decoding, Evaluated, Evaluation, Preset, Sampling, Seed, Steps
from pipelines.hooks import HOOKS
from pipelines.run import run


@flow(name="evaluate", **HOOKS)
@form.described
def evaluate(
    models: Evaluated = "diffusion",
    preset: Preset = WORKSPACE,
    timesteps: Steps = SHOWN.sweep.timesteps,
    sampling_steps: Steps = SHOWN.sweep.sampling_steps,
    seed: Seed = SHOWN.seed,
    sampling: Sampling = SHOWN.sampling,
    decoding: Decoding = SHOWN.decoding,
    evaluation: Evaluation = SHOWN.evaluation,
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
        lambda whole: graph.upstream(whole, graph.of_family(whole, f"evaluate-{models}")),
        title="evaluate",
    )

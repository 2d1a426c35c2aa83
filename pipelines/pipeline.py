"""The flow ``pipeline``: everything that ``dvc.yaml`` declares, both families of models, to the report."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas import State

from pipelines import form
from pipelines.form import (
    SHOWN,
    WORKSPACE,
    Decoding,
    Diffusion,
    Evaluation,
    FeatureNet,
    ImageData,
    Preset,
    Promotion,
    Sampling,
    Seed,
    Steps,
    TextData,
    Transformer,
)
from pipelines.hooks import HOOKS
from pipelines.run import run


@flow(name="pipeline", **HOOKS)
@form.described
def pipeline(
    preset: Preset = WORKSPACE,
    timesteps: Steps = SHOWN.sweep.timesteps,
    sampling_steps: Steps = SHOWN.sweep.sampling_steps,
    seed: Seed = SHOWN.seed,
    images: ImageData = SHOWN.images,
    text: TextData = SHOWN.text,
    feature_net: FeatureNet = SHOWN.feature_net,
    diffusion: Diffusion = SHOWN.diffusion,
    sampling: Sampling = SHOWN.sampling,
    transformer: Transformer = SHOWN.transformer,
    decoding: Decoding = SHOWN.decoding,
    evaluation: Evaluation = SHOWN.evaluation,
    promotion: Promotion = SHOWN.promotion,
) -> State[None]:
    """Prepare the data, train and judge the timestep sweep and the translation Transformer, compare, register, report."""
    fields = {
        "timesteps": timesteps, "sampling_steps": sampling_steps, "seed": seed, "images": images, "text": text,
        "feature_net": feature_net, "diffusion": diffusion, "sampling": sampling, "transformer": transformer,
        "decoding": decoding, "evaluation": evaluation, "promotion": promotion,
    }  # fmt: skip
    return run(preset, fields, lambda whole: whole, title="pipeline")

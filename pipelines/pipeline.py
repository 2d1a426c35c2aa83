"""The flow ``pipeline``: all stages that ``dvc.yaml`` declares, for both families of models, up to the report."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas import State

from pipelines import form, selection
from pipelines.form import (
    EMPTY,
    WORKSPACE,
    Decoding,
    Diffusion,
    Evaluation,
    FeatureNet,
    ImageData,
    NoisyClassifier,
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
    timesteps: Steps = EMPTY,
    sampling_steps: Steps = EMPTY,
    seed: Seed = EMPTY,
    images: ImageData = EMPTY,
    text: TextData = EMPTY,
    feature_net: FeatureNet = EMPTY,
    diffusion: Diffusion = EMPTY,
    noisy_classifier: NoisyClassifier = EMPTY,
    sampling: Sampling = EMPTY,
    transformer: Transformer = EMPTY,
    decoding: Decoding = EMPTY,
    evaluation: Evaluation = EMPTY,
    promotion: Promotion = EMPTY,
) -> State[None]:
    """Prepare the data, train and judge the timestep sweep and the translation Transformer, compare, register, report."""
    fields = {
        "timesteps": timesteps, "sampling_steps": sampling_steps, "seed": seed, "images": images, "text": text,
        "feature_net": feature_net, "diffusion": diffusion, "noisy_classifier": noisy_classifier, "sampling": sampling, "transformer": transformer,
        "decoding": decoding, "evaluation": evaluation, "promotion": promotion,
    }  # fmt: skip
    return run(preset, fields, selection.everything, title="pipeline")

"""The full tree of parameters."""

from __future__ import annotations

from pydantic import Field, model_validator

from stepladder.params.adaptation import Adaptation
from stepladder.params.baselines import GAN, VAE
from stepladder.params.classification import Classification
from stepladder.params.classifier import NoisyClassifier
from stepladder.params.combinations import COMBINATIONS
from stepladder.params.data import ImageData
from stepladder.params.decoding import Decoding
from stepladder.params.diffusion import Diffusion
from stepladder.params.evaluation import Evaluation, FeatureNet, Sweep
from stepladder.params.promotion import Promotion
from stepladder.params.sampling import Sampling
from stepladder.params.section import Section
from stepladder.params.text import TextData
from stepladder.params.transformer import Transformer


class Params(Section):
    """Everything that changes a result, and nothing else."""

    seed: int = Field(0, ge=0, lt=2**31, description="of every random choice")
    images: ImageData = ImageData()
    text: TextData = TextData()
    feature_net: FeatureNet = FeatureNet()
    sweep: Sweep = Sweep()
    diffusion: Diffusion = Diffusion()
    sampling: Sampling = Sampling()
    vae: VAE = VAE()
    gan: GAN = GAN()
    noisy_classifier: NoisyClassifier = NoisyClassifier()
    adaptation: Adaptation = Adaptation()
    transformer: Transformer = Transformer()
    classification: Classification = Classification()
    decoding: Decoding = Decoding()
    evaluation: Evaluation = Evaluation()
    promotion: Promotion = Promotion()

    @model_validator(mode="after")
    def _combinations(self) -> Params:
        for check in COMBINATIONS:
            check(self)
        return self

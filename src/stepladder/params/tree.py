"""The whole tree, and the combinations that it refuses."""

from __future__ import annotations

from pydantic import Field, model_validator

from stepladder.params.adaptation import Adaptation
from stepladder.params.baselines import GAN, VAE
from stepladder.params.classification import Classification
from stepladder.params.classifier import NoisyClassifier
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
        architectures = {"pairs": ("encoder_decoder",), "lines": ("decoder", "encoder"), "labels": ("encoder",)}
        if self.transformer.architecture not in architectures[self.text.task]:
            raise ValueError(
                f"transformer.architecture={self.transformer.architecture} with text.task={self.text.task}, which needs "
                f"{' or '.join(architectures[self.text.task])}; change one of them"
            )
        if self.transformer.training.stop_on == "bleu" and self.text.task != "pairs":
            raise ValueError(
                f"transformer.training.stop_on=bleu with text.task={self.text.task}; translations have a BLEU: set stop_on to loss"
            )
        if self.transformer.bpe_dropout and self.text.tokenizer != "bpe":
            raise ValueError(
                f"transformer.bpe_dropout={self.transformer.bpe_dropout:g} with text.tokenizer={self.text.tokenizer}, which has no "
                "merges to leave out; set it to 0, or tokenizer to bpe"
            )
        t, longest = self.transformer, self.text.max_length + 2
        if self.text.task == "pairs" and t.positions == "learned" and self.decoding.max_length > longest:
            raise ValueError(
                f"decoding.max_length={self.decoding.max_length} is more than transformer.positions=learned knows after a "
                f"training with text.max_length={self.text.max_length}; set it to at most {longest}"
            )
        u = self.diffusion.unet
        if any(u.channels * m % u.heads for m in u.channel_mult):
            raise ValueError(
                f"diffusion.unet.channels={u.channels} times channel_mult is not a multiple of heads={u.heads}"
            )
        if self.images.size % 2 ** (len(u.channel_mult) - 1):
            raise ValueError(
                f"images.size={self.images.size} cannot be halved {len(u.channel_mult) - 1} times; "
                "change images.size or shorten diffusion.unet.channel_mult"
            )
        d = self.diffusion
        if d.backbone == "dit" and self.images.size % d.dit.patch:
            raise ValueError(
                f"images.size={self.images.size} is not a multiple of diffusion.dit.patch={d.dit.patch}; change one of them"
            )
        if d.backbone == "dit" and d.dit.d_model % d.dit.heads:
            raise ValueError(f"diffusion.dit.d_model={d.dit.d_model} is not a multiple of its heads={d.dit.heads}")
        for name, side in (("curriculum", max(d.curriculum, default=0)), ("low_resolution", d.low_resolution)):
            if self.images.size and side >= self.images.size:
                raise ValueError(
                    f"diffusion.{name} has a side of {side} for pictures of images.size={self.images.size}; give a smaller one"
                )
        if d.process != "discrete" and len(self.sweep.timesteps) > 1:
            raise ValueError(
                f"sweep.timesteps={list(self.sweep.timesteps)} with diffusion.process={d.process}, whose one training serves "
                "every S; name a single T, which then is the largest S"
            )
        if d.betas and self.sweep.timesteps != (len(d.betas),):
            raise ValueError(
                f"diffusion.betas has {len(d.betas)} values and sweep.timesteps is {list(self.sweep.timesteps)}; a table of "
                f"betas is for one T: set sweep.timesteps to [{len(d.betas)}]"
            )
        if self.sampling.variance == "learned" and d.variance != "learned_range":
            raise ValueError(
                "sampling.variance=learned needs a model that learned it; set diffusion.variance to learned_range and "
                "diffusion.loss to hybrid"
            )
        if d.text and not self.images.text_column:
            raise ValueError("diffusion.text needs texts; name their column in images.text_column")
        if d.label_dropout == 0 and self.sampling.guidance_scale != 1:
            raise ValueError(
                f"sampling.guidance_scale={self.sampling.guidance_scale:g} needs a model that also learned without classes; "
                "set diffusion.label_dropout above 0, or guidance_scale to 1"
            )
        return self

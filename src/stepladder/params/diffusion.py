"""What a diffusion model learns, and with which network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from stepladder.diffusion.processes.processes import PROCESSES
from stepladder.diffusion.processes.schedules import CURVES
from stepladder.params.section import Section, Training

if TYPE_CHECKING:
    ProcessName = str
    ScheduleName = str
else:
    ProcessName, ScheduleName = Literal[tuple(PROCESSES)], Literal[(*CURVES, "log_snr", "betas")]

PARTS = {
    "unet": (
        "time",
        "label",
        "text",
        "text_mean",
        "noise",
        "stem",
        "down",
        "middle",
        "up",
        "head_norm",
        "head",
        "inputs",
        "outputs",
        "modulation",
    ),
    "dit": ("time", "label", "text", "text_mean", "noise", "stem", "blocks", "head_modulation", "head"),
}
"""Parts of the networks, some of them only with what they serve."""


class UNet(Section):
    """The convolutional denoising network."""

    channels: int = Field(24, ge=8, le=512, description="channels of the first level")
    channel_mult: tuple[Annotated[int, Field(ge=1, le=16)], ...] = Field(
        (1, 2),
        min_length=1,
        max_length=6,
        description="channels of each level, in multiples of the first; each level halves the side",
    )
    blocks: int = Field(1, ge=1, le=8, description="residual blocks a level")
    attention_resolutions: tuple[int, ...] = Field((4,), description="sides, in pixels, at which there is attention")
    middle_attention: bool = Field(True, description="attention between the two blocks in the middle")
    heads: int = Field(4, ge=1, le=32, description="attention heads")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout in residual blocks")
    norm_groups: int = Field(8, ge=1, le=64, description="groups of the group normalisation, at most; published: 32")
    scale_shift: bool = Field(True, description="the time scales and shifts the norm (Improved DDPM); else it is added")
    resample: Literal["conv", "residual"] = Field(
        "conv", description="what halves and doubles the side: a convolution, or a residual block"
    )
    conv: Literal["full", "depthwise_separable", "fft"] = Field(
        "full", description="3x3 convolutions of the residual blocks: full, depthwise separable, or spectral"
    )
    progressive: Literal["none", "input", "output", "both"] = Field(
        "none", description="multi-scale pictures put into, or summed out of, every level"
    )
    activation_checkpointing: bool = Field(False, description="less memory for a second forward")

    @model_validator(mode="after")
    def _heads_divide(self) -> UNet:
        if any(self.channels * m % self.heads for m in self.channel_mult):
            raise ValueError(
                f"diffusion.unet.channels={self.channels} times channel_mult is not a multiple of heads={self.heads}; change one "
                "of them"
            )
        return self


class DiT(Section):
    """The Transformer denoising network."""

    patch: int = Field(2, ge=1, le=64, description="side of a patch in pixels")
    d_model: int = Field(96, ge=16, le=4096, description="width")
    depth: int = Field(6, ge=1, le=64, description="blocks")
    heads: int = Field(4, ge=1, le=64, description="attention heads")
    mlp_ratio: float = Field(4.0, gt=0, le=16, description="width of the feed-forward layers, in widths")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout after attention and feed-forward")
    activation_checkpointing: bool = Field(False, description="less memory for a second forward")

    @model_validator(mode="after")
    def _widths(self) -> DiT:
        if self.d_model % self.heads or self.d_model % 4:
            raise ValueError(
                f"diffusion.dit.d_model={self.d_model} is not a multiple of 4 and of its heads={self.heads}; change one of them"
            )
        if int(self.d_model * self.mlp_ratio) < 1:
            raise ValueError(
                f"diffusion.dit.mlp_ratio={self.mlp_ratio:g} of d_model={self.d_model} leaves the feed-forward layers no width; "
                "give a larger one"
            )
        return self


class TextEncoder(Section):
    """The Transformer encoder of the text, trained jointly with the denoiser."""

    d_model: int = Field(128, ge=16, le=4096, description="width")
    depth: int = Field(2, ge=1, le=48, description="layers")
    heads: int = Field(4, ge=1, le=64, description="attention heads")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout at the published places")

    @model_validator(mode="after")
    def _heads_divide(self) -> TextEncoder:
        if self.d_model % 2 or self.d_model % self.heads:
            raise ValueError(
                f"diffusion.text_encoder.d_model={self.d_model} must be even and a multiple of its heads={self.heads}; change one "
                "of them"
            )
        return self


class Diffusion(Section):
    """What a diffusion model learns. The number of timesteps T comes from the sweep."""

    process: ProcessName = Field(
        "discrete",
        description="; ".join(f"{name}: {process.title}" for name, process in PROCESSES.items())
        + ". Those without T steps train once for every S",
    )
    schedule: ScheduleName = Field("cosine", description="noise schedule; log_snr and betas: your own")
    log_snr: tuple[Annotated[float, Field(ge=-20, le=20)], ...] = Field(
        (), description="for schedule log_snr: falling values at equal distances from data to noise, at least two"
    )
    betas: tuple[Annotated[float, Field(ge=1e-12, le=1)], ...] = Field(
        (), description="for schedule betas: one for each T"
    )
    zero_terminal_snr: bool = Field(False, description="rescale so that the last step leaves no signal (Lin et al.)")
    prediction: Literal["eps", "x0", "v"] = Field(
        "v", description="what the network predicts; v of edm: its preconditioned output, of flow: the velocity"
    )
    variance: Literal["fixed", "learned_range"] = Field(
        "fixed",
        description="of the reverse steps: fixed when sampling, or learned between its two bounds (Improved DDPM)",
    )
    loss: Literal["simple", "vlb", "hybrid"] = Field(
        "simple", description="squared error, variational bound, or simple + vlb_weight x bound for the variance only"
    )
    vlb_weight: float = Field(0.001, gt=0, le=1, description="lambda of the hybrid loss")
    weighting: Literal["none", "min_snr", "p2", "edm"] = Field(
        "none", description="of the squared error, by noise level"
    )
    min_snr_gamma: float = Field(5.0, gt=0, description="gamma of min-SNR")
    p2_gamma: float = Field(1.0, ge=0, le=4, description="gamma of P2")
    time_sampling: Literal["uniform", "stratified", "loss_second_moment", "logit_normal", "log_normal"] = Field(
        "uniform",
        description="how training draws noise levels; log_normal: of sigma, as EDM; importance: loss_second_moment",
    )
    time_mean: float = Field(0.0, ge=-10, le=10, description="mean of logit_normal's logit or log_normal's ln sigma")
    time_std: float = Field(1.0, gt=0, le=10, description="standard deviation of the same")
    backbone: Literal["unet", "dit"] = Field("unet", description="the denoising network")
    conditional: bool = Field(True, description="conditioned on the class, where the data has classes")
    text: bool = Field(False, description="conditioned on the text, where images.text_column names one")
    label_dropout: float = Field(
        0.1, ge=0, le=1, description="share of examples whose class and text are hidden (classifier-free guidance)"
    )
    low_resolution: int = Field(0, ge=0, le=512, description="super-resolution from this side in pixels; 0: none")
    low_resolution_noise: float = Field(
        0.2, ge=0, le=1, description="largest noise added to the low resolution in training (its standard deviation)"
    )
    flip: bool = Field(False, description="random horizontal flips: for natural pictures only")
    curriculum: tuple[Annotated[int, Field(ge=2, le=512)], ...] = Field(
        (), description="growing sides in pixels trained on first, in turn, before the full side"
    )
    curriculum_share: float = Field(0.5, gt=0, lt=1, description="share of the steps spent on the curriculum")
    unfreeze: tuple[str, ...] = Field(
        (),
        description="parts of the network, such as [middle, down], frozen at first and unfrozen in turn at equal parts of "
        "the first half of the steps",
    )
    unet: UNet = UNet()
    dit: DiT = DiT()
    text_encoder: TextEncoder = TextEncoder()
    training: Training = Training(steps=700, batch_size=64, learning_rate=3e-3, warmup_steps=50, validate_every=350)

    @model_validator(mode="after")
    def _combinations(self) -> Diffusion:
        process = PROCESSES[self.process]
        if process.has_own_target and self.prediction != "v":
            raise ValueError(
                f"diffusion.prediction={self.prediction} with diffusion.process={self.process}, which has a target of its own; "
                "set prediction to v, which then means it"
            )
        if self.prediction == "eps" and self.zero_terminal_snr:
            raise ValueError(
                "diffusion.prediction=eps with diffusion.zero_terminal_snr: at the last step x_t is the noise itself, which "
                "says nothing of x_0; predict v or x0"
            )
        if not process.has_steps and self.variance != "fixed":
            raise ValueError(
                f"diffusion.variance={self.variance} with diffusion.process={self.process}: its range is that between two "
                "of T steps; set process to discrete, or variance to fixed"
            )
        if not process.has_steps and self.loss != "simple":
            raise ValueError(
                f"diffusion.loss={self.loss} with diffusion.process={self.process}: the bound's terms belong to T steps; "
                "set process to discrete, or loss to simple"
            )
        if self.loss == "hybrid" and self.variance != "learned_range":
            raise ValueError(
                "diffusion.loss=hybrid with diffusion.variance=fixed: its bound trains the variance only, and there is none "
                "to train; set variance to learned_range, or loss to simple"
            )
        if self.variance == "learned_range" and self.loss == "simple":
            raise ValueError(
                "diffusion.variance=learned_range with diffusion.loss=simple, which does not train the variance; "
                "set loss to hybrid or vlb"
            )
        if self.loss == "vlb" and self.weighting != "none":
            raise ValueError(
                f"diffusion.weighting={self.weighting} with diffusion.loss=vlb, whose weights are the bound's own; "
                "set weighting to none"
            )
        if self.time_sampling == "loss_second_moment" and not process.has_steps:
            raise ValueError(
                f"diffusion.time_sampling=loss_second_moment with diffusion.process={self.process}: it keeps a history for "
                "each of T steps; set process to discrete, or choose another time_sampling"
            )
        if self.weighting != "none" and self.time_sampling in ("logit_normal", "log_normal"):
            raise ValueError(
                f"diffusion.weighting={self.weighting} with diffusion.time_sampling={self.time_sampling}: both choose how much "
                "each noise level counts, and their product is neither; keep one"
            )
        if self.zero_terminal_snr and not process.has_steps:
            raise ValueError(
                f"diffusion.zero_terminal_snr with diffusion.process={self.process}: it rescales the table of T steps; "
                "set process to discrete"
            )
        if self.zero_terminal_snr and self.weighting in ("min_snr", "p2"):
            raise ValueError(
                f"diffusion.weighting={self.weighting} with diffusion.zero_terminal_snr: the last step's signal-to-noise ratio is 0 "
                "and so is its weight, it would never be trained; set weighting to none or edm"
            )
        if self.zero_terminal_snr and self.time_sampling == "log_normal":
            raise ValueError(
                "diffusion.time_sampling=log_normal with diffusion.zero_terminal_snr: at the last step sigma over alpha is "
                "infinite, it would never be drawn; choose another time_sampling"
            )
        strange = [part for part in self.unfreeze if part.split(".")[0] not in PARTS[self.backbone]]
        if strange:
            raise ValueError(
                f"diffusion.unfreeze names {strange[0]!r}, and no network of backbone {self.backbone} has such a part; there are: "
                f"{', '.join(PARTS[self.backbone])}, and what is below them"
            )
        self._own_schedule()
        if list(self.curriculum) != sorted(set(self.curriculum)):
            raise ValueError(
                f"diffusion.curriculum={list(self.curriculum)} does not grow; name growing sides in pixels"
            )
        unit = self.dit.patch if self.backbone == "dit" else 2 ** (len(self.unet.channel_mult) - 1)
        if any(side % unit for side in self.curriculum):
            raise ValueError(
                f"diffusion.curriculum={list(self.curriculum)} has a side that is not a multiple of {unit}, which diffusion."
                f"{'dit.patch' if self.backbone == 'dit' else 'unet.channel_mult'} asks for; change one of them"
            )
        if self.curriculum and self.curriculum[0] <= self.low_resolution:
            raise ValueError(
                f"diffusion.curriculum={list(self.curriculum)} starts with a side of no more than "
                f"diffusion.low_resolution={self.low_resolution}, from which pictures are made; start with a larger one"
            )
        return self

    def _own_schedule(self) -> None:
        for name in ("log_snr", "betas"):
            if bool(getattr(self, name)) != (self.schedule == name):
                raise ValueError(
                    f"diffusion.schedule={self.schedule} with {len(getattr(self, name))} values in diffusion.{name}; "
                    f"give values with schedule {name}, and only then"
                )
        if self.log_snr and (
            len(self.log_snr) < 2 or any(b >= a for a, b in zip(self.log_snr, self.log_snr[1:], strict=False))
        ):
            raise ValueError(f"diffusion.log_snr={list(self.log_snr)} does not fall; give at least two falling values")
        if self.log_snr and PROCESSES[self.process].has_own_levels:
            raise ValueError(
                f"diffusion.schedule=log_snr with diffusion.process={self.process}, which has levels of its own; set process to "
                "discrete or continuous"
            )
        if any(beta == 1 for beta in self.betas[:-1]):
            raise ValueError(
                "diffusion.betas has a 1 before its end: nothing is left for the steps after it; end with it"
            )
        if self.betas and self.betas[-1] == 1 and self.prediction == "eps":
            raise ValueError(
                "diffusion.prediction=eps with diffusion.betas that end with 1: at the last step x_t is the noise itself, which "
                "says nothing of x_0; predict v or x0"
            )
        if self.betas and not PROCESSES[self.process].has_steps:
            raise ValueError(f"diffusion.schedule=betas is a table of T steps; process {self.process} needs a curve")

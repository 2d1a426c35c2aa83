"""What a diffusion model learns, and with which network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, create_model, model_validator

from stepladder import plugins
from stepladder.diffusion.processes.processes import PROCESS, PROCESSES
from stepladder.diffusion.processes.schedules import CURVES, SCHEDULE
from stepladder.params.backbones import BACKBONE, BACKBONES, Backbone
from stepladder.params.diffusion_combinations import COMBINATIONS
from stepladder.params.section import Section, Training

if TYPE_CHECKING:
    ProcessName = str
    ScheduleName = str
    BackboneName = str
else:
    ProcessName = Annotated[Literal[tuple(PROCESSES)], PROCESS]
    ScheduleName = Annotated[Literal[(*CURVES, "log_snr", "betas")], SCHEDULE]
    BackboneName = Annotated[Literal[tuple(BACKBONES)], BACKBONE]


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


class _Learned(Section):
    """What a diffusion model learns, without the arguments of its networks."""

    process: ProcessName = Field(
        "discrete",
        description="; ".join(f"{name}: {process.title}" for name, process in PROCESSES.items())
        + ". Those without T steps train once for every S; your own: module:name",
    )
    schedule: ScheduleName = Field(
        "cosine", description="noise schedule; log_snr and betas: your own values, module:name: your own function"
    )
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
    backbone: BackboneName = Field("unet", description="the denoising network; your own: module:name")
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


if TYPE_CHECKING:
    _WithBackbones = _Learned
else:  # a section of each backbone's arguments, by its name
    _WithBackbones = create_model(
        "_WithBackbones", __base__=_Learned, **{name: (section, section()) for name, section in BACKBONES.items()}
    )


class Diffusion(_WithBackbones):
    """What a diffusion model learns. The number of timesteps T comes from the sweep."""

    text_encoder: TextEncoder = TextEncoder()
    training: Training = Training(steps=700, batch_size=64, learning_rate=3e-3, warmup_steps=50, validate_every=350)

    @property
    def network(self) -> Backbone | None:
        """The arguments of the chosen network; ``None`` for a custom one."""
        chosen: Backbone | None = None if plugins.is_custom(self.backbone) else getattr(self, self.backbone)
        return chosen

    def arguments(self) -> dict[str, object]:
        """The arguments of the chosen network as a dictionary; empty for a custom one."""
        return self.network.model_dump() if self.network else {}

    @model_validator(mode="after")
    def _combinations(self) -> Diffusion:
        for combination in COMBINATIONS:
            combination(self)
        return self

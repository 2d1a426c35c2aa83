"""The typed spec: schema of ``params.yaml``, of every preset, of the Prefect form and of the command line.

``load`` is the only reader of ``params.yaml`` and of presets; ``render`` writes a spec back with its help as comments.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stepladder.errors import UserError

PARAMS_FILE = Path("params.yaml")
PRESETS_FOLDER = Path("presets")


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


S = TypeVar("S", bound=Section)

OnBadRow = Literal["refuse", "set-aside"]


class ImageData(Section):
    """Pictures for diffusion and the feature network."""

    source: str = Field(
        "digits",
        min_length=1,
        description="digits (in a package), a Hugging Face data set name, or a folder of pictures (one subfolder a class)",
    )
    config: str = Field("", description="configuration of the hub data set; empty: its default")
    image_column: str = Field("", description="column of the pictures; empty: the only picture column")
    label_column: str = Field("", description="column of the classes; empty: the only class column, or none")
    size: int = Field(
        0, ge=0, le=1024, description="side in pixels to which pictures are brought; 0: as they are, all alike"
    )
    channels: Literal[0, 1, 3, 4] = Field(0, description="1 grey, 3 RGB, 4 RGBA; 0: as they are")
    held_out: float = Field(0.2, gt=0, lt=1, description="share held out where the source has no test split")
    limit: int = Field(0, ge=0, description="at most so many training pictures; 0: all")
    on_bad_row: OnBadRow = Field("refuse", description="a bad row stops the preparation, or is set aside and counted")


class TextData(Section):
    """Sentence pairs for translation."""

    source: str = Field(
        "names",
        min_length=1,
        description="names (ISO names, in a package), a Hugging Face data set name, or a file of pairs (.tsv, .jsonl)",
    )
    config: str = Field("", description="configuration of the hub data set; empty: its default")
    source_language: str = Field("en", min_length=1, description="language, or column, translated from")
    target_languages: tuple[str, ...] = Field(
        ("uk",), min_length=1, description="languages, or columns, translated to; several: told apart by a tag"
    )
    limit: int = Field(15000, ge=0, description="at most so many pairs; 0: all")
    tokenizer: Literal["bpe", "unigram", "char"] = Field("bpe", description="joint sub-word model of both sides")
    vocab_size: int = Field(600, ge=64, le=64000, description="entries of the joint vocabulary")
    max_length: int = Field(128, ge=8, le=4096, description="longest sentence in tokens; longer rows are bad rows")
    held_out: float = Field(
        0.1, gt=0, lt=0.5, description="share for test, and again for validation, where the source has none"
    )
    on_bad_row: OnBadRow = Field(
        "set-aside", description="a bad row stops the preparation, or is set aside and counted"
    )

    @model_validator(mode="after")
    def _languages_differ(self) -> TextData:
        named = [self.source_language, *self.target_languages]
        if len(set(named)) != len(named) or "" in named:
            raise ValueError(
                f"text.source_language={self.source_language} and text.target_languages={list(self.target_languages)} name "
                "a language twice, or none; name different ones"
            )
        return self


class Training(Section):
    """One training: optimiser, schedule, length."""

    steps: int = Field(1000, ge=1, description="optimiser steps")
    batch_size: int = Field(128, ge=1, description="global batch over all devices: pictures, or target tokens for text")
    accumulate: int = Field(1, ge=1, le=1024, description="micro-batches that make up one global batch")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="peak of the schedule")
    schedule: Literal["constant", "cosine", "inverse_sqrt", "linear"] = Field("cosine", description="after warm-up")
    warmup_steps: int = Field(100, ge=0, description="linear warm-up, in steps")
    weight_decay: float = Field(0.0, ge=0, le=1, description="AdamW's, on matrices only")
    beta2: float = Field(0.999, gt=0, lt=1, description="Adam's second decay rate")
    gradient_clip: float = Field(1.0, ge=0, description="largest gradient norm; 0: no clipping")
    ema_half_life: float = Field(
        0.05, ge=0, le=1, description="half-life of the weights' average, as a share of the run; 0: none"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: bf16 where the device has it, else fp32"
    )
    validate_every: int = Field(250, ge=1, description="steps between validations")


class FeatureNet(Section):
    """The classifier whose features and verdicts judge generated pictures."""

    steps: int = Field(600, ge=1, description="optimiser steps")
    batch_size: int = Field(128, ge=1, description="pictures a step")
    learning_rate: float = Field(3e-3, gt=0, le=1, description="peak learning rate")
    width: int = Field(16, ge=4, le=512, description="channels of the first level")
    features: int = Field(64, ge=2, le=2048, description="dimension of the features that distances are measured in")

    @property
    def training(self) -> Training:
        """The same as a training's section, what is not a parameter filled in."""
        return Training(
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            warmup_steps=self.steps // 20,
            weight_decay=0.01,
            validate_every=self.steps,
        )


class UNet(Section):
    """The denoising network."""

    channels: int = Field(24, ge=8, le=512, description="channels of the first level")
    channel_mult: tuple[Annotated[int, Field(ge=1, le=16)], ...] = Field(
        (1, 2),
        min_length=1,
        max_length=6,
        description="channels of each level, in multiples of the first; each level halves the side",
    )
    blocks: int = Field(1, ge=1, le=8, description="residual blocks a level")
    attention_resolutions: tuple[int, ...] = Field((4,), description="sides, in pixels, at which there is attention")
    heads: int = Field(4, ge=1, le=32, description="attention heads")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout in residual blocks")


class Diffusion(Section):
    """What a diffusion model learns. The number of timesteps T comes from the sweep."""

    schedule: Literal["linear", "cosine"] = Field("cosine", description="noise schedule")
    prediction: Literal["eps", "x0", "v"] = Field("v", description="what the network predicts")
    conditional: bool = Field(True, description="conditioned on the class, where the data has classes")
    label_dropout: float = Field(
        0.1, ge=0, le=1, description="share of examples whose class is hidden (classifier-free guidance)"
    )
    flip: bool = Field(False, description="random horizontal flips: for natural pictures only")
    unet: UNet = UNet()
    training: Training = Training(steps=700, batch_size=64, learning_rate=3e-3, warmup_steps=50, validate_every=350)


class Sampling(Section):
    """How pictures are drawn from a trained model."""

    sampler: Literal["ancestral", "ddim"] = Field("ancestral", description="ancestral (DDPM) or DDIM")
    spacing: Literal["trailing", "leading", "linspace", "quadratic"] = Field(
        "trailing", description="which S of the T steps are visited"
    )
    variance: Literal["fixed_small", "fixed_large"] = Field(
        "fixed_small", description="of the ancestral sampler's steps"
    )
    eta: float = Field(0.0, ge=0, le=1, description="DDIM's noise: 0 deterministic, 1 as ancestral")
    guidance_scale: float = Field(1.0, ge=0, le=50, description="classifier-free guidance; 1: none")
    clip: bool = Field(True, description="clip the predicted x_0 to the data's range at every step")


class Transformer(Section):
    """The translation model."""

    d_model: int = Field(96, ge=8, le=4096, description="width")
    d_ff: int = Field(384, ge=8, le=16384, description="width of the feed-forward layers")
    num_heads: int = Field(2, ge=1, le=64, description="attention heads")
    encoder_layers: int = Field(2, ge=1, le=48, description="encoder layers")
    decoder_layers: int = Field(2, ge=1, le=48, description="decoder layers")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout at the published places")
    norm: Literal["pre", "post"] = Field("pre", description="layer normalisation before or after each sublayer")
    tie_embeddings: bool = Field(True, description="one matrix for source, target and output")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="share of probability spread over the vocabulary")
    training: Training = Training(
        steps=3000,
        batch_size=512,
        learning_rate=5e-3,
        schedule="cosine",
        warmup_steps=300,
        weight_decay=0.1,
        beta2=0.98,
        ema_half_life=0.03,
        validate_every=500,
    )


class Decoding(Section):
    """How translations are found."""

    beam_size: int = Field(4, ge=1, le=64, description="hypotheses kept; 1: greedy")
    length_penalty: float = Field(1.0, ge=0, le=5, description="alpha of Wu et al. (2016)")
    max_length: int = Field(128, ge=1, le=4096, description="longest output in tokens")


class Evaluation(Section):
    """How models are judged."""

    samples: int = Field(720, ge=10, description="pictures drawn at every (T, S)")
    bootstrap: int = Field(200, ge=10, le=100000, description="resamples behind each interval")
    confidence: float = Field(0.95, gt=0, lt=1, description="of the intervals")
    inception_weights: str = Field(
        "", description="file of Inception weights (TorchScript); empty: this data's feature network"
    )


class Sweep(Section):
    """The timestep sweep: one training for each T, sampled at each S <= T."""

    timesteps: tuple[Annotated[int, Field(ge=1, le=100_000)], ...] = Field(
        (10, 50, 200, 1000), min_length=1, description="numbers of training steps T"
    )
    sampling_steps: tuple[Annotated[int, Field(ge=1, le=100_000)], ...] = Field(
        (1, 2, 3, 5, 10, 20, 50, 100), min_length=1, description="numbers of sampling steps S; at each T those up to T"
    )

    @model_validator(mode="after")
    def _steps_fit(self) -> Sweep:
        for name in ("timesteps", "sampling_steps"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ValueError(f"{name} names a value twice: {list(values)}; name each once")
        if max(self.sampling_steps) > max(self.timesteps):
            raise ValueError(
                f"sampling_steps has S={max(self.sampling_steps)}, more than the largest T={max(self.timesteps)}; "
                "a chain of T steps can be sampled in at most T"
            )
        if min(self.sampling_steps) > min(self.timesteps):
            raise ValueError(
                f"timesteps has T={min(self.timesteps)}, at which no S of sampling_steps {list(self.sampling_steps)} "
                "can be sampled; add an S of at most that T"
            )
        return self


class Params(Section):
    """Everything that changes a result, and nothing else."""

    seed: int = Field(0, ge=0, lt=2**31, description="of every random choice")
    images: ImageData = ImageData()
    text: TextData = TextData()
    feature_net: FeatureNet = FeatureNet()
    sweep: Sweep = Sweep()
    diffusion: Diffusion = Diffusion()
    sampling: Sampling = Sampling()
    transformer: Transformer = Transformer()
    decoding: Decoding = Decoding()
    evaluation: Evaluation = Evaluation()

    @model_validator(mode="after")
    def _combinations(self) -> Params:
        t = self.transformer
        if t.d_model % t.num_heads:
            raise ValueError(
                f"transformer.d_model={t.d_model} is not a multiple of transformer.num_heads={t.num_heads}"
            )
        if t.d_model % 2:
            raise ValueError(f"transformer.d_model={t.d_model} is odd; sinusoidal positions need an even width")
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
        if self.diffusion.label_dropout == 0 and self.sampling.guidance_scale != 1:
            raise ValueError(
                f"sampling.guidance_scale={self.sampling.guidance_scale:g} needs a model that also learned without classes; "
                "set diffusion.label_dropout above 0, or guidance_scale to 1"
            )
        return self


def build(values: dict[str, Any], origin: str = "the parameters") -> Params:
    """The spec of plain ``values``, defaults elsewhere; ``UserError`` names the key, the value and what is allowed."""
    return section(Params, merge(Params().model_dump(mode="json"), values), origin)


def section(kind: type[S], values: dict[str, Any], origin: str) -> S:
    """One section of plain ``values``; ``UserError`` as ``build``."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{origin}: " + "; ".join(_sentence(e) for e in error.errors()) + ".") from None


def load(path: Path | str = PARAMS_FILE, *, preset: str = "", overrides: list[str] | tuple[str, ...] = ()) -> Params:
    """The spec in ``path``, or of a ``preset``, with ``overrides`` such as ``"sweep.timesteps=[10, 100]"`` on top."""
    if preset:
        values, origin = _read(_preset_file(preset)), f"preset {preset}"
    else:
        values, origin = _read(Path(path)), str(path)
    for override in overrides:
        values = merge(values, _override(override))
    return build(values, origin)


def presets() -> list[str]:
    """Names of the presets, sorted."""
    return sorted(p.stem for p in PRESETS_FOLDER.glob("*.yaml"))


def merge(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """``base`` with the leaves of ``change`` put in; neither is altered."""
    merged = dict(base)
    for key, value in change.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def flatten(params: BaseModel, prefix: str = "") -> dict[str, Any]:
    """Leaves by dotted key: ``{"diffusion.unet.channels": 32, ...}``."""
    leaves: dict[str, Any] = {}
    for key in type(params).model_fields:
        value = getattr(params, key)
        if isinstance(value, BaseModel):
            leaves |= flatten(value, f"{prefix}{key}.")
        else:
            leaves[prefix + key] = list(value) if isinstance(value, tuple) else value
    return leaves


def render(params: BaseModel, indent: int = 0) -> str:
    """YAML of the whole tree, each key with its help and choices as a comment."""
    pad = "  " * indent
    lines = (
        [] if indent else ["# What runs: every key with its help. `stepladder params` checks it; presets/ has others."]
    )
    for key, field in type(params).model_fields.items():
        value = getattr(params, key)
        if isinstance(value, BaseModel):
            help_ = (type(value).__doc__ or "").strip()
            lines += ["", f"{pad}# {help_}"] if indent == 0 else [f"{pad}# {help_}"]
            lines += [f"{pad}{key}:", render(value, indent + 1).rstrip("\n")]
            continue
        choices = [str(c) for c in get_args(field.annotation)] if "Literal" in str(field.annotation) else []
        note = (field.description or "") + (f" ({' | '.join(choices)})" if choices else "")
        shown = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
        lines.append(f"{pad}{key}: {shown}  # {note}")
    return "\n".join(lines) + "\n"


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path} does not exist; run in the project's folder, or make it with `stepladder params --write`."
        ) from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}.") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{path} holds a {type(values).__name__}, not sections of keys and values.")
    return values


def _preset_file(name: str) -> Path:
    path = PRESETS_FOLDER / f"{name}.yaml"
    if not path.exists():
        raise UserError(f"There is no preset {name!r}; there are: {', '.join(presets()) or 'none'}.")
    return path


def _override(text: str) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(f"{text!r} is not KEY=VALUE, such as sweep.timesteps=[10,100].")
    try:
        nested: Any = yaml.safe_load(value)
    except yaml.YAMLError:
        raise UserError(f"{value!r}, given for {key}, is not a YAML value.") from None
    for part in reversed(key.split(".")):
        nested = {part: nested}
    return nested


def _sentence(error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{path} is not a parameter{_nearest(path)}"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    given = error["input"]
    shown = f" (given: {given!r})" if not isinstance(given, dict) else ""
    return f"{path}: {error['msg'][0].lower()}{error['msg'][1:]}{shown}"


def _nearest(path: str) -> str:
    import difflib

    known = list(flatten(Params())) + list(Params.model_fields)
    close = difflib.get_close_matches(path, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else "; `stepladder params` lists them all"

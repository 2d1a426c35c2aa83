"""Stepladder from Python: the names of ``import stepladder as sl``, see docs/library.md.

A ``Model`` is a network with its process: a trained one, or a custom ``nn.Module``. All else is a function of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from stepladder.data.grid import scaled
from stepladder.data.image_arrays import ImageArrays
from stepladder.diffusion.networks.description import DiffusionDescription, Network
from stepladder.diffusion.processes.process import Process
from stepladder.diffusion.processes.processes import process_of
from stepladder.diffusion.processes.schedules import CURVES, Schedule
from stepladder.diffusion.processes.schedules import schedule as schedule_of
from stepladder.diffusion.processes.settings import ProcessDescription
from stepladder.diffusion.samplers.sampler import Denoise
from stepladder.diffusion.samplers.samplers import SAMPLERS
from stepladder.diffusion.sampling import drawing, loading
from stepladder.errors import UserError
from stepladder.params import Params, Sampling, build
from stepladder.training.families import FAMILIES

if TYPE_CHECKING:
    from stepladder.tasks.experiment import Experiment

Callback = Callable[[int, Tensor, Tensor], None]


@dataclass(frozen=True)
class Model:
    """A diffusion model.

    Attributes:
        network: ``network(x, time, condition)``: ``x`` ``(N, C, H, W)``, ``time`` ``(N,)`` in [0, 1] (0 data, 1 noise), and
            ``condition``, a dictionary of tensors of N rows, of which ``labels`` ``(N,)`` int64 is always there. It predicts
            the target of its process, ``(N, C, H, W)``.
        description: the content of its folder's ``config.json``.
    """

    network: nn.Module
    description: DiffusionDescription

    @property
    def process(self) -> Process:
        """The process that it learned to reverse."""
        return process_of(self.description)

    @property
    def timesteps(self) -> int:
        """T; in continuous time the largest S."""
        return self.description.timesteps

    @property
    def classes(self) -> list[str]:
        """Names of the classes that it knows; their numbers are their places."""
        return [*self.description.classes]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of a picture."""
        return self.description.model.shape


def load(model: Path | str) -> Model:
    """The trained model in a folder such as ``models/diffusion/T50``, on the CPU, in evaluation mode.

    Raises:
        UserError: the folder holds no diffusion model.
    """
    return Model(*loading.load(Path(model)))


def wrap(
    network: nn.Module,
    shape: Sequence[int],
    *,
    timesteps: int = 1000,
    process: str = "discrete",
    schedule: str = "cosine",
    prediction: str = "v",
    classes: Sequence[str] = (),
    sigma_data: float = 0.5,
    **config: Any,
) -> Model:
    """A model of a custom ``network``, see ``Model``, for pictures of ``shape`` (C, H, W).

    Args:
        process, schedule, prediction: as the parameters ``diffusion.*``.
        classes: names of the classes that condition it; none: it is unconditional, and ``labels`` are zeros.
        sigma_data: standard deviation of the data, for the process ``edm``.
        config: further parameters of the process: ``betas``, ``log_snr``, ``zero_terminal_snr``.

    Raises:
        UserError: there is no such process or schedule, or they do not go together.
    """
    section = {"process": process, "schedule": schedule, "prediction": prediction, **config}
    build({"diffusion": section, "sweep": {"timesteps": [timesteps], "sampling_steps": [1]}, "sampling": {}})
    description = DiffusionDescription(
        model=Network(shape=shape, classes=len(classes)),
        timesteps=timesteps,
        classes=classes,
        label_dropout=0.0,
        sigma_data=sigma_data,
        **section,
    )
    return Model(network, description)


def draw(
    model: Model,
    labels: Sequence[int | str] | Tensor | int = 16,
    *,
    steps: int = 10,
    seed: int = 0,
    callback: Callback | None = None,
    condition: Mapping[str, Tensor] | None = None,
    **sampling: Any,
) -> Tensor:
    """Pictures ``(N, C, H, W)`` in [-1, 1], one for each of ``labels``, in S = ``steps`` steps.

    Picture i depends on ``seed``, i and its label only.

    Args:
        labels: names or numbers of classes, one for each picture; or the number of pictures, with the classes in turn.
        callback: ``callback(i, x, x_0)`` after each step i = 0, ..., S-1, with x and the predicted x_0.
        condition: further conditions of the network: ``text`` ``(N, L)``, ``low_resolution`` ``(N, C, h, w)``.
        sampling: ``sampler``, ``spacing``, ``guidance_scale`` and the other parameters ``sampling.*``.

    Raises:
        UserError: there is no such class, sampler or number of steps, or they do not go together.
    """
    default = {"sampler": model.process.usual_sampler} if "sampler" not in sampling else {}
    settings = build({"sampling": default | sampling}).sampling
    conditions = dict(condition or {}) | {"labels": _numbers(model, labels)}
    return drawing.draw(model.network, model.description, conditions, steps, settings, seed=seed, callback=callback)


def trajectory(
    model: Model, labels: Sequence[int | str] | Tensor | int = 16, *, steps: int = 10, **options: Any
) -> tuple[Tensor, Tensor]:
    """The way from noise to pictures: x after each step, and the predicted x_0, each ``(S, N, C, H, W)``; see ``draw``."""
    places: list[Tensor] = []
    seen: list[Tensor] = []

    def keep(i: int, x: Tensor, x_0: Tensor) -> None:
        places.append(x.float().cpu().clone())
        seen.append(x_0.float().cpu().clone())

    count = len(_numbers(model, labels))
    if count > drawing.BATCH:
        raise UserError(f"A trajectory of {count} pictures is asked for; at most {drawing.BATCH} are kept at once.")
    draw(model, labels, steps=steps, callback=keep, **options)
    return torch.stack(places), torch.stack(seen)


def process(name: str, *, timesteps: int = 1000, **config: Any) -> Process:
    """The process ``name`` of ``PROCESSES``, with the other parameters ``diffusion.*`` that define it: ``schedule``,
    ``prediction``, ``betas``, ``log_snr``, ``zero_terminal_snr``, and ``sigma_data``.
    """
    known = {"schedule": "cosine", "prediction": "v"} | config | {"process": name, "timesteps": timesteps}
    return process_of(ProcessDescription.model_validate(known))


def schedule(name: str, timesteps: int) -> Schedule:
    """``betas`` and ``alphas_cumprod`` ``(T,)`` of the schedule ``name`` at T = ``timesteps``."""
    return schedule_of(name, timesteps)


def pictures(data: Path | str, split: str = "train") -> tuple[Tensor, Tensor, list[str]]:
    """Prepared pictures: ``(N, C, H, W)`` in [-1, 1], their class numbers ``(N,)`` (-1 without classes), and the classes' names.

    Raises:
        UserError: nothing is prepared in ``data``.
    """
    arrays = ImageArrays.open(Path(data), split)
    return scaled(arrays.images), torch.from_numpy(arrays.labels), [str(name) for name in arrays.card["classes"]]


def judge(
    samples: Tensor,
    labels: Sequence[int] | Tensor | None,
    *,
    data: Path | str = "data/images",
    feature_net: Path | str = "models/feature-net",
    params: Params | None = None,
) -> dict[str, float]:
    """All figures, with intervals, of the pictures ``samples`` ``(N, C, H, W)`` in [-1, 1], as in the main job.

    Fréchet distance, KID, precision, recall, density, coverage, memorisation and, with ``labels`` (the requested classes),
    accuracy; ``floor_frechet`` is the distance of real pictures. docs/evaluation.md says how.

    Raises:
        UserError: there are no such prepared pictures, or no such feature network.
    """
    from stepladder.evaluation.pictures.judging import Judge

    judging = Judge(params or build({}), Path(data), Path(feature_net))
    classes = None if labels is None else torch.as_tensor(labels)
    return judging.point(samples, classes) | {f"floor_{name}": value for name, value in judging.floor.items()}


def train(
    out: Path | str,
    params: Params | Mapping[str, Any] | None = None,
    *,
    family: str = "diffusion",
    data: Path | str = "data/images",
    timesteps: int | None = 50,
) -> Path:
    """Train a model of ``family`` on prepared ``data`` and put it into the folder ``out``, which is returned.

    It is the training that ``stepladder train`` runs: a separate process with its state in the present folder's
    ``.checkpoints/``, so that a repeated call resumes it; its figures go to MLflow where there is one.

    Args:
        params: all parameters, or those that differ from the defaults: ``{"diffusion": {"training": {"steps": 500}}}``.
        timesteps: T of a diffusion model; other families take none.

    Raises:
        UserError: the parameters are refused, alone or with this data; or the training failed.
    """
    from stepladder.launching.launch import train as launch

    tree = params if isinstance(params, Params) else build(dict(params or {}))
    if code := launch(family, tree, Path(data), Path(out), timesteps=timesteps if family == "diffusion" else None):
        raise UserError(f"The training of {family} ended with exit code {code}; what it printed says why.")
    return Path(out)


def experiment(
    params: Params | Mapping[str, Any] | None = None,
    *,
    family: str = "diffusion",
    data: Path | str = "data/images",
    timesteps: int | None = 50,
) -> Experiment:
    """What ``train`` trains, for a custom loop in this process: ``task``, a plain LightningModule; ``draw(k)``, the k-th
    micro-batch; ``validation``, the fixed batches of validation.

    Args: as those of ``train``.

    Raises:
        UserError: the parameters are refused, alone or with this data.
    """
    tree = params if isinstance(params, Params) else build(dict(params or {}))
    start = import_module(FAMILIES[family].module).experiment
    result: Experiment = start(tree, Path(data), **({"timesteps": timesteps} if family == "diffusion" else {}))
    return result


def samplers() -> dict[str, Callable[..., Tensor]]:
    """The samplers as functions ``(denoise, x, levels, noise, *, callback, ...)``, by name; see ``Denoise``."""
    return {name: sampler.sample for name, sampler in SAMPLERS.items()}


def denoiser(model: Model, labels: Sequence[int | str] | Tensor | int, steps: int, **sampling: Any) -> Denoise:
    """``denoise(x, i)`` of ``model`` at the noise levels of S = ``steps`` steps, for a custom sampler; guided and limited as in
    ``sampling``. The levels are ``model.process.levels(steps)``.
    """
    how = build({"sampling": sampling}).sampling
    condition = {"labels": _numbers(model, labels)}
    return drawing.denoiser(model.network, model.description, condition, model.process.levels(steps, how.spacing), how)


def schedules() -> tuple[str, ...]:
    """Names of the built-in schedules."""
    return tuple(CURVES)


def _numbers(model: Model, labels: Sequence[int | str] | Tensor | int) -> Tensor:
    if isinstance(labels, int):
        return drawing.class_numbers(model.classes, None, labels)
    if isinstance(labels, Tensor):
        labels = labels.tolist()
    names = [str(label) for label in labels if isinstance(label, str)]
    known = dict(zip(names, drawing.class_numbers(model.classes, names, 1).tolist(), strict=True)) if names else {}
    numbers = [known[label] if isinstance(label, str) else int(label) for label in labels]
    most = max(len(model.classes), 1)
    if strange := [number for number in numbers if not 0 <= number < most]:
        raise UserError(
            f"There is no class of number {strange[0]}; the model knows {len(model.classes)} classes, from 0."
        )
    return torch.tensor(numbers, dtype=torch.int64)


__all__ = [
    "Model", "Params", "Sampling", "build", "denoiser", "draw", "experiment", "judge", "load", "pictures", "process", "samplers", "schedule",
    "schedules", "train", "trajectory", "wrap",
]  # fmt: skip

"""Adapting a trained diffusion model to a few pictures of one's own.

The adapted model knows every class of the model that it comes from, and the new ones: the subfolders of the folder of
pictures, or the folder itself; a class of the same name as an old one goes on from it. It learns what that model learned to
predict, at the same noise levels, and by the usual objective for it. Texts, where the model reads them, are hidden.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from stepladder.data.image_arrays import ImageArrays
from stepladder.data.shuffle import Shuffle
from stepladder.description import Data
from stepladder.diffusion import lora
from stepladder.diffusion.networks.conditions import Condition
from stepladder.diffusion.networks.description import Adapted, DiffusionDescription
from stepladder.diffusion.processes.processes import of
from stepladder.diffusion.sampling.loading import load
from stepladder.diffusion.super_resolution import low_resolution
from stepladder.diffusion.training.task import PREVIEWED, DiffusionTask
from stepladder.errors import UserError
from stepladder.params import Adaptation, Diffusion, Params, Training
from stepladder.params.fitting import trainable
from stepladder.tasks.experiment import Experiment
from stepladder.tasks.task import Batch

ADAPTER = "adapter.safetensors"
MOST_VALIDATED = 2048


class AdaptedTask(DiffusionTask):
    """Goes on training a network, all of it or its low-rank changes and new classes; these are merged at the end.

    ``weights``: of the network that is described.
    """

    shardable = False  # it finishes with whole weights

    def __init__(
        self,
        description: DiffusionDescription,
        diffusion: Diffusion,
        adaptation: Adaptation,
        weights: dict[str, Tensor],
        seed: int,
        rank: int,
        world_size: int,
        previewed: Condition,
    ) -> None:
        super().__init__(description, diffusion, seed, rank, world_size, previewed)
        self.model.load_state_dict(weights)
        self.method = adaptation.method
        if self.method == "lora":
            lora.inject(self.model, adaptation.rank, adaptation.layers)
            count = len(description.new_classes)
            if count:
                lora.add_rows(self.model.label, len(description.classes) - count, count)  # type: ignore[arg-type]

    def finish(self, folder: Path) -> None:
        """Save the adapter by itself, and merge it into the network."""
        if self.method == "lora":
            changes = {name: value.contiguous().cpu() for name, value in lora.adapters(self.model).items()}
            save_file(changes, folder / ADAPTER)
            lora.merge(self.model)


def experiment(
    params: Params, data: Path, *, rank: int = 0, world_size: int = 1, timesteps: int | None = None
) -> Experiment:
    """The adaptation that ``params.adaptation`` describes, to pictures prepared in ``data``; ``timesteps`` is the model's own.

    Raises:
        UserError: there is no such model, the pictures are of another shape, or the batch does not divide.
    """
    section = params.adaptation
    base, before = load(Path(section.model))
    training = section.method_training
    train, test = ImageArrays.open(data, "train"), ImageArrays.open(data, "test")
    shape, wanted = train.card["shape"], before.model.shape
    if list(shape) != list(wanted):
        raise UserError(
            f"The pictures in {data} are prepared as {' x '.join(map(str, shape))} and the model {section.model} draws "
            f"{' x '.join(map(str, wanted))}; prepare them anew with `stepladder prepare own`."
        )
    trainable("adapted", params, train.card, world_size)
    size = training.batch_size // training.accumulate
    description = configuration(before, section, train.card)
    weights = grown(base.state_dict(), before, description)
    numbers = torch.tensor(class_numbers(description, train.card))
    length = description.model.text_length if description.model.vocabulary else 0
    shuffle = Shuffle(len(train.labels), size, params.seed)

    def batch(arrays: ImageArrays, rows: Any, size: int) -> Batch:
        told: Batch = {"labels": numbers[torch.from_numpy(arrays.labels[rows]).clamp(min=0)]}
        if length:
            told["text"] = torch.zeros(len(rows), length, dtype=torch.int64)
        return told | {"images": torch.from_numpy(arrays.images[rows]), "size": size}

    def micro_batch(k: int) -> Batch:
        return batch(train, shuffle.rows(k)[rank::world_size], size) | {"position": k}

    order = shuffle.all(len(test.labels))[:MOST_VALIDATED]
    validation = [
        batch(test, order[s : s + size][rank::world_size], min(size, len(order) - s))
        for s in range(0, len(order), size)
    ]
    shown = batch(test, [i % len(test.labels) for i in range(PREVIEWED)], PREVIEWED)
    previewed: Condition = {key: shown[key] for key in ("labels", "text") if key in shown}
    if side := description.model.low_resolution:
        low = low_resolution(shown["images"].float() / 127.5 - 1, side)
        previewed |= {"low_resolution": low, "low_resolution_noise": torch.zeros(len(low))}
    task = AdaptedTask(
        description, objective(description, training), section, weights, params.seed, rank, world_size, previewed
    )
    files = {"tokenizer.json": Path(section.model) / "tokenizer.json"} if length else {}
    return Experiment(task, micro_batch, [b for b in validation if len(b["labels"])], files)


def network(params: Params, card: dict[str, Any]) -> nn.Module:
    """The network that is adapted."""
    return load(Path(params.adaptation.model))[0]


def configuration(before: DiffusionDescription, section: Adaptation, card: dict[str, Any]) -> DiffusionDescription:
    """The description of the adapted model: that of the model ``before``, with the classes that are new."""
    added = [name for name in own_classes(card) if name not in before.classes] if before.classes else []
    changed = {"rank": section.rank, "layers": section.layers} if section.method == "lora" else {}
    known = (*before.classes, *added)
    return before.model_copy(
        update={
            "model": before.model.model_copy(update={"classes": len(known)}),
            "classes": known,
            "data": Data.of(card),
            "adapted": Adapted(method=section.method, **changed, new_classes=tuple(added), data=before.data),
        }
    )


def own_classes(card: dict[str, Any]) -> list[str]:
    """Classes of one's own pictures: their subfolders, or the folder itself."""
    return [str(name) for name in card["classes"]] or [str(card["name"])]


def class_numbers(description: DiffusionDescription, card: dict[str, Any]) -> list[int]:
    """The adapted model's number of each of ``own_classes``; zeros where it knows no classes."""
    known = description.classes
    return [known.index(name) if known else 0 for name in own_classes(card)]


def grown(
    weights: dict[str, Tensor], before: DiffusionDescription, description: DiffusionDescription
) -> dict[str, Tensor]:
    """``weights`` with a row for each new class, which starts as that of no class, the last, or as the classes' mean
    where the model was always told one."""  # fmt: skip
    added = len(description.classes) - len(before.classes)
    if not added:
        return weights
    if "label.weight" not in weights:
        raise UserError(
            f"The model's network, {before.model.backbone}, has no embedding `label` of classes, which new ones are added to; give "
            "pictures in one folder a class that it knows."
        )
    table = weights["label.weight"]
    start = table[-1:] if before.label_dropout > 0 else table[:-1].mean(0, keepdim=True)
    return weights | {"label.weight": torch.cat([table[:-1], start.expand(added, -1), table[-1:]])}


def objective(description: DiffusionDescription, training: Training) -> Diffusion:
    """What a model that is described so goes on learning: its own target, by the usual loss at the usual levels of its process."""
    same = ("process", "schedule", "log_snr", "betas", "zero_terminal_snr", "prediction", "variance", "label_dropout")
    return Diffusion.model_validate(
        {key: getattr(description, key) for key in same}
        | of(description).usual_time_sampling
        | {
            "loss": "hybrid" if description.variance == "learned_range" else "simple",
            "text": bool(description.model.vocabulary),
            "low_resolution": description.model.low_resolution,
            "training": training,
        }
    )


def base_and_adapter(model: nn.Module, description: DiffusionDescription, adapter: dict[str, Tensor]) -> nn.Module:
    """The network ``model``, grown by the classes of its ``description``, with an adapter's file worked in."""
    return lora.apply(model, adapter, first=len(description.classes) - len(description.new_classes))

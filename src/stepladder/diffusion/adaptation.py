"""Adapting a trained diffusion model to a few custom pictures.

The adapted model knows every class of the model that it comes from, and the new ones: the subfolders of the folder of
pictures, or the folder itself; a class of the same name as an old one goes on from it. It learns the target of that
model at the same noise levels, with the default loss for it. A model of texts is trained without texts.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from stepladder.data.card import PicturesCard
from stepladder.description import Data
from stepladder.diffusion import lora
from stepladder.diffusion.networks.conditions import Condition
from stepladder.diffusion.networks.description import Adapted, DiffusionDescription
from stepladder.diffusion.processes.processes import process_of
from stepladder.diffusion.sampling.loading import load
from stepladder.diffusion.training.task import DiffusionTask, preview_condition
from stepladder.errors import UserError
from stepladder.params import Adaptation, Diffusion, Params, Training
from stepladder.tasks.experiment import Experiment
from stepladder.tasks.pictures import Pictures
from stepladder.tasks.task import Batch

ADAPTER = "adapter.safetensors"


class AdaptedTask(DiffusionTask):
    """Goes on training a network, all of it or its low-rank changes and new classes; these are merged at the end.

    ``weights``: those of the network that ``description`` describes, new classes included.
    """

    shardable = False  # ``finish`` needs full weights

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
        """Save the adapter in a file of its own, and merge it into the network."""
        if self.method == "lora":
            changes = {name: value.contiguous().cpu() for name, value in lora.adapters(self.model).items()}
            save_file(changes, folder / ADAPTER)
            lora.merge(self.model)


def experiment(params: Params, data: Path, *, rank: int = 0, world_size: int = 1) -> Experiment:
    """The adaptation that ``params.adaptation`` describes, to pictures prepared in ``data``, at the model's own T.

    Raises:
        UserError: there is no such model, the pictures are of another shape, or the batch does not divide.
    """
    section = params.adaptation
    base, before = load(Path(section.model))
    training = section.method_training
    pictures = Pictures("adapted", params, training, data, rank, world_size)
    card, shape, model_shape = pictures.card, pictures.card["shape"], before.model.shape
    if list(shape) != list(model_shape):
        raise UserError(
            f"The pictures in {data} are prepared as {' x '.join(map(str, shape))} and the model {section.model} draws "
            f"{' x '.join(map(str, model_shape))}; prepare them anew with `stepladder prepare own`."
        )
    description = configuration(before, section, card)
    weights = with_new_classes(base.state_dict(), before, description)
    numbers = torch.tensor(class_numbers(description, card))
    length = description.model.text_length if description.model.vocabulary else 0

    def relabelled(batch: Batch) -> Batch:
        labels = numbers[batch["labels"]]
        no_text = {"text": torch.zeros(len(labels), length, dtype=torch.int64)} if length else {}
        return batch | {"labels": labels} | no_text

    previewed = relabelled(preview_condition(pictures, description.model.low_resolution))
    task = AdaptedTask(
        description, objective(description, training), section, weights, params.seed, rank, world_size, previewed
    )
    files = {"tokenizer.json": Path(section.model) / "tokenizer.json"} if length else {}
    validation = [relabelled(batch) for batch in pictures.validation()]
    return Experiment(task, lambda k: relabelled(pictures.micro_batch(k)), validation, files)


def network(params: Params, card: PicturesCard) -> nn.Module:
    """The network that is adapted."""
    return load(Path(params.adaptation.model))[0]


def configuration(before: DiffusionDescription, section: Adaptation, card: PicturesCard) -> DiffusionDescription:
    """The description of the adapted model: that of the model ``before``, with the classes that are new."""
    added = [name for name in picture_classes(card) if name not in before.classes] if before.classes else []
    lora_settings = {"rank": section.rank, "layers": section.layers} if section.method == "lora" else {}
    classes = (*before.classes, *added)
    return before.model_copy(
        update={
            "model": before.model.model_copy(update={"classes": len(classes)}),
            "classes": classes,
            "data": Data.of(card),
            "adapted": Adapted(method=section.method, **lora_settings, new_classes=tuple(added), data=before.data),
        }
    )


def picture_classes(card: PicturesCard) -> list[str]:
    """Classes of custom pictures: their subfolders, or the folder itself."""
    return [str(name) for name in card["classes"]] or [str(card["name"])]


def class_numbers(description: DiffusionDescription, card: PicturesCard) -> list[int]:
    """The number in the adapted model of each of ``picture_classes``; zeros where the model has no classes."""
    classes = description.classes
    return [classes.index(name) if classes else 0 for name in picture_classes(card)]


def with_new_classes(
    weights: dict[str, Tensor], before: DiffusionDescription, description: DiffusionDescription
) -> dict[str, Tensor]:
    """``weights`` with a row for each new class. It starts as the last row, that of no class, or as the classes' mean
    where the model always had a class.
    """
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
    """The objective of the adaptation: the model's target, with the default loss and levels of its process."""
    same = ("process", "schedule", "log_snr", "betas", "zero_terminal_snr", "prediction", "variance", "label_dropout")
    return Diffusion.model_validate(
        {key: getattr(description, key) for key in same}
        | process_of(description).usual_time_sampling
        | {
            "loss": "hybrid" if description.variance == "learned_range" else "simple",
            "text": bool(description.model.vocabulary),
            "low_resolution": description.model.low_resolution,
            "training": training,
        }
    )

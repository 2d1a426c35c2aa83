"""The refused combinations of sections: each is a function that raises ``ValueError`` with the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from stepladder.diffusion.processes.processes import PROCESSES
from stepladder.params import pictures, sides, texts
from stepladder.params.data import NONE
from stepladder.text_tasks.tasks import FORMS, TASKS, architectures

if TYPE_CHECKING:
    from stepladder.params.tree import Params


def something_is_left(p: Params) -> None:
    """Pictures and text are not both left out."""
    if p.images.source == p.text.source == NONE:
        raise ValueError("images.source=none and text.source=none leave nothing to run; name one of them")


def architecture_serves_the_task(p: Params) -> None:
    """The Transformer has an architecture that can learn the task of the text."""
    allowed = architectures(p.text.task)
    if p.transformer.architecture not in allowed:
        raise ValueError(
            f"transformer.architecture={p.transformer.architecture} with text.task={p.text.task}, which needs "
            f"{' or '.join(allowed)}; change one of them"
        )


def bleu_is_of_pairs(p: Params) -> None:
    """Only a training on sentence pairs stops on BLEU."""
    if p.transformer.training.stop_on == "bleu" and not TASKS[p.text.task].model.translates:
        raise ValueError(
            f"transformer.training.stop_on=bleu with text.task={p.text.task}; translations have a BLEU: set stop_on to loss"
        )
    others = {
        "diffusion.training": p.diffusion.training, "noisy_classifier.training": p.noisy_classifier.training,
        "vae.training": p.vae.training, "gan.training": p.gan.training, "adaptation.training": p.adaptation.training,
        "classification.pretraining": p.classification.pretraining,
    }  # fmt: skip
    for key, training in others.items():
        if training.stop_on == "bleu":
            raise ValueError(f"{key}.stop_on=bleu, which is of sentence pairs; set stop_on to loss or none")


def merges_are_left_out_of_bpe(p: Params) -> None:
    """BPE dropout goes with a BPE tokenizer."""
    if p.transformer.bpe_dropout and p.text.tokenizer != "bpe":
        raise ValueError(
            f"transformer.bpe_dropout={p.transformer.bpe_dropout:g} with text.tokenizer={p.text.tokenizer}, which has no "
            "merges to leave out; set it to 0, or tokenizer to bpe"
        )


def masked_models_are_no_base_of_others(p: Params) -> None:
    """Only a classifier of texts starts from a masked model."""
    if p.transformer.base and not TASKS[p.text.task].model.base:
        raise ValueError(
            f"transformer.base={p.transformer.base} with text.task={p.text.task}; only a classifier of labels starts from a "
            "masked model: set text.task to labels, or base to nothing"
        )


def learned_positions_reach(p: Params) -> None:
    """Learned positions are enough for the longest translation that decoding may write."""
    if TASKS[p.text.task].model.translates:
        texts.positions(p.transformer, p.decoding, p.text.max_length)


def blocks_fill_a_batch(p: Params) -> None:
    """A batch of running text has a block for each of its micro-batches."""
    if FORMS[p.text.task].running:
        texts.blocks("transformer.training", p.transformer.training, p.transformer.context)


def batches_divide(p: Params) -> None:
    """The batch of each training on pictures divides into its micro-batches."""
    pictures.batch("diffusion.training", p.diffusion.training)
    pictures.batch("noisy_classifier.training", p.noisy_classifier.training)
    pictures.batch("vae.training", p.vae.training)
    pictures.batch("gan.training", p.gan.training)
    pictures.batch("adaptation.training", p.adaptation.training)


def sides_can_be_cut(p: Params) -> None:
    """``images.size``, where it is set, can be halved or cut into patches by the network, and is larger than its curriculum."""
    if p.images.size:
        pictures.network(p.diffusion, *sides.square(p.images.size))
        pictures.smaller(p.diffusion, *sides.square(p.images.size))


def guiding_classifier_can_be_trained(p: Params) -> None:
    """``images.size``, where it is set, can be halved as often as a noisy classifier that guides or is trained does."""
    if (p.sampling.classifier_scale or p.noisy_classifier.train) and p.images.size:
        mult = p.noisy_classifier.channel_mult
        of, named = sides.square(p.images.size)
        sides.halved(of, len(mult) - 1, "noisy_classifier.channel_mult", mult, named)


def continuous_time_has_one_training(p: Params) -> None:
    """A process without steps is trained for a single T."""
    if not PROCESSES[p.diffusion.process].has_steps and len(p.sweep.timesteps) > 1:
        raise ValueError(
            f"sweep.timesteps={list(p.sweep.timesteps)} with diffusion.process={p.diffusion.process}, whose one training serves "
            "every S; name a single T, which then is the largest S"
        )


def betas_are_of_one_t(p: Params) -> None:
    """A table of betas comes with the one T that it is for."""
    if p.diffusion.betas and p.sweep.timesteps != (len(p.diffusion.betas),):
        raise ValueError(
            f"diffusion.betas has {len(p.diffusion.betas)} values and sweep.timesteps is {list(p.sweep.timesteps)}; a table of "
            f"betas is for one T: set sweep.timesteps to [{len(p.diffusion.betas)}]"
        )


def learned_variance_was_learned(p: Params) -> None:
    """Sampling uses a learned variance only where the training learns it."""
    if p.sampling.variance == "learned" and p.diffusion.variance != "learned_range":
        raise ValueError(
            "sampling.variance=learned needs a model that learned it; set diffusion.variance to learned_range and "
            "diffusion.loss to hybrid"
        )


def texts_have_a_column(p: Params) -> None:
    """A model that reads texts has a column of them in the data."""
    if p.diffusion.text and not p.images.text_column:
        raise ValueError("diffusion.text needs texts; name their column in images.text_column")


def guidance_has_two_sides(p: Params) -> None:
    """Guidance has a condition to guide to, and a model that also learned without it."""
    scale = p.sampling.guidance_scale
    if scale == 1:
        return
    if p.diffusion.label_dropout == 0:
        raise ValueError(
            f"sampling.guidance_scale={scale:g} needs a model that also learned without classes; set diffusion.label_dropout "
            "above 0, or guidance_scale to 1"
        )
    if not (p.diffusion.conditional or p.diffusion.text):
        raise ValueError(
            f"sampling.guidance_scale={scale:g} with diffusion.conditional=false and diffusion.text=false: there is nothing to "
            "guide to; set one of them to true, or guidance_scale to 1"
        )


COMBINATIONS: tuple[Callable[[Params], None], ...] = (
    something_is_left,
    architecture_serves_the_task,
    bleu_is_of_pairs,
    merges_are_left_out_of_bpe,
    masked_models_are_no_base_of_others,
    learned_positions_reach,
    blocks_fill_a_batch,
    batches_divide,
    sides_can_be_cut,
    guiding_classifier_can_be_trained,
    continuous_time_has_one_training,
    betas_are_of_one_t,
    learned_variance_was_learned,
    texts_have_a_column,
    guidance_has_two_sides,
)

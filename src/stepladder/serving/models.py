"""Models that are served: diffusion models for pictures, Transformers for translations; from the registry or a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer
from torch import Tensor, nn

from stepladder.description import kind
from stepladder.diffusion import requests
from stepladder.diffusion.classifier import load_bundled
from stepladder.diffusion.networks.description import DiffusionDescription
from stepladder.diffusion.processes.processes import process_of
from stepladder.diffusion.sampling import drawing
from stepladder.params import Decoding, Sampling, section
from stepladder.text_tasks.record import Settings
from stepladder.tracking import fetch
from stepladder.transformer.inference import translation
from stepladder.transformer.networks import trained
from stepladder.transformer.networks.description import TranslationDescription


@dataclass(frozen=True)
class Painter:
    """A diffusion model.

    Attributes:
        name: the name in the request.
        defaults: its default settings.
        classifier: the noisy classifier in its folder, if any; guided: then its description with the classifier's classes.
    """

    name: str
    model: nn.Module
    description: DiffusionDescription
    tokenizer: Tokenizer | None
    defaults: Settings
    classifier: nn.Module | None = None
    guided: DiffusionDescription | None = None

    @property
    def request_description(self) -> DiffusionDescription:
        """The description with the classes that a request may name."""
        return self.guided or self.description

    @property
    def classes(self) -> list[str]:
        """Names of the classes that a request may name."""
        return [*self.request_description.classes]

    @property
    def steps(self) -> int:
        """S of a request that names none."""
        return requests.steps(self.description, self.defaults.get("steps"), None)

    def sampling(self, **options: Any) -> Sampling:
        """Its default settings of sampling, with those of ``options`` that are not None; raises ``UserError``."""
        return requests.sampling(self.description, {**self.defaults.get("sampling", {})}, options)

    def check(self, label: str, text: str, steps: int | None, sampling: Sampling) -> None:
        """Raise ``UserError`` where it cannot draw this class or text, or not with these settings."""
        requests.condition(self.request_description, self.tokenizer, [label], [text])
        drawing.check(self.description, sampling, self.classifier)
        process_of(self.description).levels(steps or self.steps, sampling.spacing)

    def draw(
        self,
        labels: Sequence[str],
        texts: Sequence[str],
        steps: int | None,
        sampling: Sampling,
        seed: int,
        first: int = 0,
    ) -> Tensor:
        """A picture for each row, ``(N, C, H, W)`` in [-1, 1]; ``first``: the number of the first row, on which its noise depends.

        Raises:
            UserError: the model does not know a class or text, or cannot draw with these settings.
        """
        condition = requests.condition(self.request_description, self.tokenizer, labels, texts)
        steps = steps or self.steps
        return drawing.draw(
            self.model, self.description, condition, steps, sampling, seed=seed, first=first, classifier=self.classifier
        )


@dataclass(frozen=True)
class Translator:
    """A translation model."""

    name: str
    model: Any
    tokenizer: Tokenizer
    description: TranslationDescription
    defaults: Settings

    def decoding(self, **options: Any) -> Decoding:
        """Its default settings of decoding, with those of ``options`` that are not None; raises ``UserError``."""
        changes = {key: value for key, value in options.items() if value is not None}
        return section(Decoding, {**self.defaults.get("decoding", {}), **changes}, "decoding")

    def language(self, requested: str | None) -> str | None:
        """The language of a request: ``requested``, else the default, else none."""
        return requested or self.defaults.get("language") or None

    def check(self, sentences: Sequence[str], language: str | None) -> None:
        """Raise ``UserError`` where one of ``sentences`` is too long, or the language is not known."""
        translation.encode(self.tokenizer, self.description, list(sentences), self.language(language))

    def translate(self, sentences: Sequence[str], decoding: Decoding, language: str | None = None) -> list[str]:
        """The translation of each sentence; raises ``UserError`` as ``check``."""
        known = self.language(language)
        return translation.translate(self.model, self.tokenizer, self.description, list(sentences), decoding, known)


def load(name: str) -> Painter | Translator:
    """The model ``name``, a folder or ``models:/NAME@ALIAS``.

    Raises:
        UserError: there is none, or it neither draws from noise alone nor translates.
    """
    folder, defaults = fetch.fetch(name)
    if kind(folder) == DiffusionDescription.kind:
        model, description = drawing.load(folder)
        requests.check_generates(description)
        classifier, guided = load_bundled(folder, description)
        return Painter(name, model, description, requests.tokenizer(folder, description), defaults, classifier, guided)
    return Translator(name, *trained.load(folder, TranslationDescription), defaults)

"""What a text task is: one record says all that differs from one to another. ``tasks`` has those there are.

It stands below whoever asks it, so that it names code of the rooms above (``Code``) and imports none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypedDict

from stepladder.metrics.metric import Metric

Figures = Mapping[str, Any]
"""What an evaluation found, its ``metrics.json``."""
Tile = tuple[str, str, str]
"""Name of a figure, the figure, and what it is to be compared with."""


class Settings(TypedDict, total=False):
    """What a registered model does unless it is told otherwise: one that draws has all but the last two, one of texts these two."""

    steps: int
    guidance_scale: float
    seed: int
    sampling: Mapping[str, object]  # the parameters of these names
    classifier: str | None  # hash of the weights of the one that guides, where one does
    decoding: Mapping[str, float | str]
    language: str


class Code(str):
    """A function or class of the package by its place, ``MODULE:NAME``; loaded when it is called."""

    def load(self) -> Any:
        """What stands there."""
        module, _, name = self.partition(":")
        return getattr(import_module(f"stepladder.{module}"), name)

    def __call__(self, *given: Any, **named: Any) -> Any:
        """What it returns of these arguments."""
        return self.load()(*given, **named)


READING, SECTION = Code("evaluation.text.pictures:reading"), Code("reporting.language_sections:body")  # the usual ones


@dataclass(frozen=True)
class Prepared:
    """A form that text is prepared in: a value of ``text.task``.

    Attributes:
        says: what it is, in the words of ``text.task``.
        prepare: ``(params, folder) -> card``.
        fits: ``(key, params, training, card, devices)`` raises ``ValueError`` where a batch of the section ``key`` is too small for it.
        running: one long text, which is learned in blocks of ``transformer.context``, not texts one by one.
    """

    says: str
    prepare: Code
    fits: Code
    running: bool = False


@dataclass(frozen=True)
class Model:
    """What learns it.

    Attributes:
        title, use, make: what a model is called, what uses one, and what makes one, see ``description.Kind``.
        architecture: that of ``transformer.architecture``.
        description, network: the record of its folder, and the network that is built of its ``model``.
        experiment: ``(params, data, *, rank, world_size) -> Experiment``.
        forms: of prepared text that it learns from; none: its own.
        translates: it writes a target: it has a BLEU in training, and decoding stays within its positions.
        base: the task whose model its training may start from; "": none.
    """

    title: str
    use: str
    architecture: str
    description: Code
    network: Code
    experiment: Code
    forms: tuple[str, ...] = ()
    make: str = "`stepladder train transformer`"
    translates: bool = False
    base: str = ""


@dataclass(frozen=True)
class Items:
    """What two evaluations of a task are compared by.

    Attributes:
        file: of an evaluation, a row each.
        same: keys that two evaluations of the same held-out text agree in.
        scores: ``(rows of that file) -> [Score]``.
    """

    file: str
    same: tuple[str, ...]
    scores: Code


@dataclass(frozen=True)
class Judging:
    """How good a model is.

    Attributes:
        judge: ``(params, data, model, out) -> TextMetrics``, which also writes ``attention.json``.
        figures: that it measures, by name; ``figure``: the one that counts.
        baseline: the ``figure`` of what has learned nothing of the task, where it was measured, and how that is got; of several the best counts.
        items: what was judged one by one; none: two evaluations are not compared.
        fits: ``(description, model, data)`` raises ``UserError`` where a model of other days cannot be judged on ``data``.
        reading: ``(tokenizer, description, text, target, language)``: what its network is given of a text, a list of tokens or two.
        of_splits: figures of further test splits that are shown first; none: those of ``figures``.
    """

    judge: Code
    figure: str
    figures: dict[str, Metric]
    baseline: Callable[[Figures], list[tuple[float | None, str]]]
    items: Items | None = None
    fits: Code | None = None
    reading: Code = READING
    of_splits: tuple[str, ...] = ()


@dataclass(frozen=True)
class Served:
    """What a registered model does.

    Attributes:
        column: of texts that it is asked with; ``outputs``: columns of its answer, with MLflow's types.
        answer: ``(loaded, texts, settings, options) -> {column: values}``.
        options: from its settings, what a request may change: by name MLflow's type and the usual value.
        settings: of ``params.decoding`` as a dictionary, and its description: what it does unless it is told otherwise.
        examples: file of an evaluation whose first rows it can answer.
        further: names of figures that its version tells beside the one that counts.
        judged: how they were found, in words; what was found in other ways is not compared.
    """

    column: str
    outputs: Mapping[str, str]
    answer: Code
    options: Callable[[Mapping[str, Any]], Mapping[str, tuple[str, Any]]]
    settings: Callable[[Mapping[str, float | str], Any], Settings]
    examples: str
    further: tuple[str, ...]
    judged: Callable[[Figures], str]


@dataclass(frozen=True)
class Page:
    """What the report and a flow's summary say.

    Attributes:
        heading: of its section.
        tiles: the headline figures.
        summary: figures of a flow's summary, with their names.
        rows: figures of the section's table, with their names.
        baselines: what a trivial baseline gets, by the same keys.
        examples: title, file of an evaluation, and its keys with the heads of their columns: a table of its rows; none: no table.
        section: ``(metrics, reports) -> Markup``, the whole section but for the attention.
        entry: a key of ``ENTRIES``.
    """

    heading: str
    tiles: Callable[[Figures], list[Tile]]
    summary: Mapping[str, str]
    rows: Iterable[tuple[str, str]] = ()
    baselines: Callable[[Figures], Mapping[str, float | None]] = lambda metrics: {}
    examples: tuple[str, str, Mapping[str, str]] | None = None
    section: Code = SECTION
    entry: str = "language_model"


ENTRIES = {"translation": "translation", "language_model": "language"}
"""Where a comparison has the figures of a text task, and the id of their section on the page."""


@dataclass(frozen=True)
class TextTask:
    """A text task.

    Attributes:
        name: ``task`` of cards, descriptions and evaluations.
        prepared: the form of text that is its own; none: it learns from that of others.
        served: none: it is not registered, and answers nothing by itself.
    """

    name: str
    model: Model
    judging: Judging
    page: Page
    prepared: Prepared | None = None
    served: Served | None = None

    @property
    def forms(self) -> tuple[str, ...]:
        """Of prepared text that it learns from and is judged on."""
        return self.model.forms or (self.name,)

    @property
    def using(self) -> tuple[Code, ...]:
        """The code that a trained model of it needs."""
        answers = (self.served.answer,) if self.served else ()
        return (self.model.description, self.model.network, *answers)

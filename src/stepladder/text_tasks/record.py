"""The record of a text task: it holds everything that differs from one task to another. ``tasks`` has the records.

Other packages import it, so it names their code by its place (``Code``) and imports none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypedDict

from stepladder.metrics.metric import Metric

Figures = Mapping[str, Any]
"""The results of an evaluation, its ``metrics.json``."""
Tile = tuple[str, str, str]
"""Name of a figure, its value, and what to compare it with."""


class Settings(TypedDict, total=False):
    """The default options of a registered model: one of pictures has all but the last two, one of texts these two."""

    steps: int
    guidance_scale: float
    seed: int
    sampling: Mapping[str, object]  # the parameters of these names
    classifier: str | None  # hash of the weights of the guiding classifier, where there is one
    decoding: Mapping[str, float | str]
    language: str


class Code(str):
    """A function or class of the package, named as ``MODULE:NAME``; imported when it is called."""

    def load(self) -> Any:
        """The function or class, imported."""
        module, _, name = self.partition(":")
        return getattr(import_module(f"stepladder.{module}"), name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Its result for these arguments."""
        return self.load()(*args, **kwargs)


READING, SECTION = Code("evaluation.text.pictures:reading"), Code("reporting.language_sections:body")  # the defaults


@dataclass(frozen=True)
class Prepared:
    """A form that text is prepared in: a value of ``text.task``.

    Attributes:
        says: its description, for ``text.task``.
        prepare: ``(params, folder) -> card``.
        fits: ``(key, params, training, card, devices)`` raises ``ValueError`` where a batch of the section ``key`` is too small for it.
        running: one long text that is learned in blocks of ``transformer.context``, not single texts.
    """

    says: str
    prepare: Code
    fits: Code
    running: bool = False


@dataclass(frozen=True)
class Model:
    """The model that learns the task.

    Attributes:
        title, use, make: name of the model, the commands that use it and make it, see ``description.Kind``.
        architecture: that of ``transformer.architecture``.
        description, network: the record of its folder, and the network that is built from its ``model``.
        experiment: ``(params, data, *, rank, world_size) -> Experiment``.
        forms: of prepared text that it learns from; empty: that of its task.
        translates: it writes a target, so it has a BLEU in training, and decoding stays within its positions.
        base: the task whose model its training can start from; "": none.
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
    """The items by which two evaluations of a task are compared.

    Attributes:
        file: of an evaluation, with a row for each item.
        same: keys whose values are equal in two evaluations of the same held-out text.
        scores: ``(rows of that file) -> [Score]``.
    """

    file: str
    same: tuple[str, ...]
    scores: Code


@dataclass(frozen=True)
class Judging:
    """How a model is judged.

    Attributes:
        judge: ``(params, data, model, out) -> TextMetrics``, which also writes ``attention.json``.
        figures: those that it measures, by name; ``figure``: the one that decides.
        baseline: the ``figure`` of trivial baselines, ``None`` where not measured, and how each is obtained; the best of them counts.
        items: those that were judged one by one; ``None``: two evaluations are not compared.
        fits: ``(description, model, data)`` raises ``UserError`` where an older model cannot be judged on ``data``.
        reading: ``(tokenizer, description, text, target, language)``: the input of its network for a text: one list of token ids, or two.
        of_splits: figures that are printed first for further test splits; empty: those of ``figures``.
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
    """How a registered model answers.

    Attributes:
        column: name of its input column of texts; ``outputs``: columns of its answer, with MLflow's types.
        answer: ``(loaded, texts, settings, options) -> {column: values}``.
        options: from its settings, those that a request can change: by name, MLflow's type and the default.
        settings: from ``params.decoding`` as a dictionary, and its description: the defaults of its options.
        examples: file of an evaluation whose first rows it can answer.
        further: names of figures that its version has in addition to the one that decides.
        judged: how they were measured, in words; figures measured in different ways are not compared.
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
    """The contents of the report and of a flow's summary.

    Attributes:
        heading: of its section.
        tiles: the headline figures.
        summary: figures of a flow's summary, with their names.
        rows: figures of the section's table, with their names.
        baselines: what a trivial baseline gets, by the same keys.
        examples: a table of the rows of a file: its title, the file, and its keys with their column titles; ``None``: no table.
        section: ``(metrics, reports) -> Markup``, the full section except the attention.
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
        prepared: its form of text; ``None``: it learns from the forms of other tasks.
        served: ``None``: it is not registered, and answers nothing by itself.
    """

    name: str
    model: Model
    judging: Judging
    page: Page
    prepared: Prepared | None = None
    served: Served | None = None

    @property
    def forms(self) -> tuple[str, ...]:
        """The forms of prepared text that it learns from and is judged on."""
        return self.model.forms or (self.name,)

    @property
    def using(self) -> tuple[Code, ...]:
        """The code that is needed to use a trained model of the task."""
        answers = (self.served.answer,) if self.served else ()
        return (self.model.description, self.model.network, *answers)

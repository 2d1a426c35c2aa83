"""All text tasks. No other code tests which task it has (a test checks that)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepladder.errors import UserError
from stepladder.metrics.metric import ACCURACY, Metric
from stepladder.metrics.numbers import fixed, percent, short
from stepladder.text_tasks.record import ENTRIES, Code, Figures, Items, Judging, Model, Page, Prepared, Served, TextTask

PERPLEXITY = Metric("perplexity", -1, headline=True)
LOSS = Metric("validation loss, nats", -1, headline=True)


def _generation_options(settings: Mapping[str, Any]) -> dict[str, tuple[str, Any]]:
    """The options of a request to continue a prompt."""
    decoding = settings["decoding"]
    options = {"max_length": ("long", decoding["max_length"]), "seed": ("long", 0)}
    if decoding["method"] != "sample":
        return options
    types = {"temperature": float, "top_k": int, "top_p": float, "min_p": float, "repetition_penalty": float}
    return options | {key: ("long" if type_ is int else "double", type_(decoding[key])) for key, type_ in types.items()}


def _pair_baselines(metrics: Figures) -> list[tuple[float | None, str]]:
    """For translations: copying the source, and the references of other sentences (likely texts, without regard to the source). For
    summaries, which share many words with their source, only the second.
    """  # fmt: skip
    copying = None if "rouge1" in metrics else (metrics.get("copy") or {}).get("chrf")
    others = (metrics.get("exchanged") or {}).get("chrf")
    return [(copying, "copying the source"), (others, "the references of other sentences")]


PAIRS = TextTask(
    "pairs",
    prepared=Prepared(
        "translation, summarisation", Code("data.preparing.text:prepare_pairs"), fits=Code("params.texts:sentences")
    ),
    model=Model(
        title="translation model",
        use="`stepladder translate` uses it",
        architecture="encoder_decoder",
        description=Code("transformer.networks.description:TranslationDescription"),
        network=Code("transformer.networks.seq2seq:Seq2Seq"),
        experiment=Code("transformer.training.translation_task:experiment"),
        translates=True,
    ),
    judging=Judging(
        Code("evaluation.text.translation:evaluate"),
        figure="chrf",
        figures={
            "chrf": Metric("chrF", 1, headline=True),
            "bleu": Metric("BLEU", 1, headline=True),
            "ter": Metric("TER", -1, headline=True),
            "bleu_lowercased_tokenised": Metric("BLEU, lower-cased, Moses-tokenised", 1, headline=True),
            "rouge1": Metric("ROUGE-1", 1),
            "rouge2": Metric("ROUGE-2", 1),
            "rougel": Metric("ROUGE-L", 1, headline=True),
            "exact_match": Metric("exact match", 1, share=True, headline=True),
            "perplexity": PERPLEXITY,
        },
        baseline=_pair_baselines,
        items=Items("translations.jsonl", ("source", "reference"), Code("evaluation.text.translation:scores_of")),
        fits=Code("evaluation.fitting:languages_fit"),
        reading=Code("evaluation.text.translation:reading"),
        of_splits=("chrf", "bleu", "bleu_lowercased_tokenised", "perplexity"),
    ),
    served=Served(
        "source",
        {"translation": "string"},
        answer=Code("transformer.inference.translation:answer"),
        options=lambda settings: {
            "beam_size": ("long", settings["decoding"]["beam_size"]),
            "length_penalty": ("double", float(settings["decoding"]["length_penalty"])),
            "language": ("string", settings["language"]),
        },
        settings=lambda decoding, model: {"decoding": decoding, "language": model.target_languages[0]},
        examples="translations.jsonl",
        further=("bleu", "exact_match", "perplexity"),
        judged=lambda m: f"{m.get('sentences')} sentences, {(m.get('signatures') or {}).get('chrf')}",
    ),
    page=Page(
        "Translation",
        tiles=lambda m: [
            ("chrF of the translation", short(m["chrf"]), f"copying the source: {short(m['copy']['chrf'], 2)}"),
            ("translated exactly", percent(m["exact_match"]), f"of {m['sentences']:,} held-out sentences"),
        ],
        summary={"chrf": "chrF", "bleu": "BLEU", "exact_match": "exact match"},
        section=Code("reporting.translation_sections:body"),
        entry="translation",
    ),
)
LINES = TextTask(
    "lines",
    prepared=Prepared(
        "running text, for language models", Code("data.preparing.lines:prepare"), fits=Code("params.texts:running"), running=True
    ),
    model=Model(
        title="causal language model",
        use="`stepladder generate` uses it",
        architecture="decoder",
        description=Code("transformer.networks.description:CausalLMDescription"),
        network=Code("transformer.networks.causal_lm:CausalLM"),
        experiment=Code("transformer.training.causal_lm_task:experiment"),
    ),
    judging=Judging(
        Code("evaluation.text.running:evaluate"),
        figure="bits_per_character",
        figures={
            "bits_per_character": Metric("bits a character", -1, headline=True),
            "perplexity": PERPLEXITY,
            "loss": LOSS,
            "loss_1x": Metric("loss at the trained length, nats", -1),
            "loss_2x": Metric("loss at twice the length, nats", -1),
            "loss_4x": Metric("loss at four times the length, nats", -1),
        },
        baseline=lambda m: [(m.get("unigram_bits_per_character"), "knowing how often each token occurs")],
        items=Items("losses.jsonl", ("text",), Code("evaluation.text.running:measures")),
    ),
    served=Served(
        "prompt",
        {"continuation": "string"},
        answer=Code("transformer.inference.generation:answer"),
        options=_generation_options,
        settings=lambda decoding, model: {"decoding": decoding},
        examples="continuations.jsonl",
        further=("perplexity", "loss"),
        judged=lambda m: f"{m['characters']} characters, {m['protocol']['context']}",
    ),
    page=Page(
        "Language model",
        tiles=lambda m: [(
            "bits a character", fixed(m["bits_per_character"], 3),
            f"by how often each token occurs: {fixed(m['unigram_bits_per_character'], 3)}",
        )],
        summary={"bits_per_character": "bits per character", "perplexity": "perplexity"},
        rows=(("bits_per_character", "bits a character"), ("perplexity", "perplexity, a token"), ("loss", "loss, nats a token")),
        baselines=lambda m: {"bits_per_character": m.get("unigram_bits_per_character")},
        examples=(
            "How it goes on", "continuations.jsonl",
            {"prompt": "held-out text", "text": "as it goes on", "continuation": "as the model goes on"},
        ),
    ),
)  # fmt: skip
LABELS = TextTask(
    "labels",
    prepared=Prepared("text and class", Code("data.preparing.labels:prepare"), fits=Code("params.texts:classes")),
    model=Model(
        title="classifier of texts",
        use="`stepladder classify` uses it",
        architecture="encoder",
        description=Code("transformer.networks.description:TextClassifierDescription"),
        network=Code("transformer.networks.classifier:TextClassifier"),
        experiment=Code("transformer.training.classifier_task:experiment"),
        base="masked_lm",
    ),
    judging=Judging(
        Code("evaluation.text.classes:evaluate"),
        figure="accuracy",
        figures={"accuracy": ACCURACY, "macro_f1": Metric("macro-F1", 1, share=True, headline=True)},
        baseline=lambda m: [((m.get("majority") or {}).get("accuracy"), "always saying the commonest class")],
        items=Items("predictions.jsonl", ("text", "label"), Code("evaluation.text.classes:measures")),
        fits=Code("evaluation.fitting:classes_fit"),
        reading=Code("evaluation.text.classes:reading"),
    ),
    served=Served(
        "text",
        {"label": "string", "probability": "double"},
        answer=Code("transformer.inference.classification:answer"),
        options=lambda settings: {},
        settings=lambda decoding, model: {},
        examples="predictions.jsonl",
        further=("macro_f1",),
        judged=lambda m: f"{m['texts']} texts",
    ),
    page=Page(
        "Classification",
        tiles=lambda m: [
            ("classified rightly", percent(m["accuracy"]), f"always the commonest: {percent(m['majority']['accuracy'])}")
        ],
        summary={"accuracy": "accuracy", "macro_f1": "macro f1"},
        rows=(("accuracy", "accuracy"), ("macro_f1", "macro-F1")),
        baselines=lambda m: m["majority"],
        section=Code("reporting.language_sections:of_classes"),
    ),
)  # fmt: skip
MASKED = TextTask(
    "masked_lm",
    model=Model(
        title="masked language model",
        use="`stepladder attention` reads with it",
        make="`stepladder train masked-lm`",
        architecture="encoder",
        description=Code("transformer.networks.description:MaskedLMDescription"),
        network=Code("transformer.networks.masked_lm:MaskedLM"),
        experiment=Code("transformer.training.masked_lm_task:experiment"),
        forms=("lines", "labels"),
    ),
    judging=Judging(
        Code("evaluation.text.masked:evaluate"),
        figure="loss",
        figures={"accuracy": ACCURACY, "loss": LOSS, "perplexity": PERPLEXITY},
        baseline=lambda m: [(m.get("unigram_loss"), "knowing how often each token occurs")],
        fits=Code("evaluation.fitting:vocabulary_fits"),
    ),
    page=Page(
        "Masked language model",
        tiles=lambda m: [("hidden tokens found", percent(m["accuracy"]), f"of {m['hidden']:,}")],
        summary={"perplexity": "perplexity", "accuracy": "accuracy"},
        rows=(("accuracy", "hidden tokens found"), ("perplexity", "perplexity, a hidden token"), ("loss", "loss, nats")),
    ),
)  # fmt: skip
TASKS = {task.name: task for task in (PAIRS, LINES, LABELS, MASKED)}
FORMS = {task.name: task.prepared for task in TASKS.values() if task.prepared}
"""The forms that text can be prepared in: the values of ``text.task``."""


def name_of(document: Mapping[str, object]) -> str:
    """The task that a card, a description or an evaluation names; older ones have no name and are of sentence pairs."""
    return str(document.get("task", PAIRS.name))


def learned(architecture: str, form: str) -> TextTask:
    """The task that a network of that ``architecture`` learns from text of that ``form``; ``StopIteration`` where there is none."""
    return next(task for task in TASKS.values() if task.model.architecture == architecture and form in task.forms)


def architectures(form: str) -> tuple[str, ...]:
    """The architectures of networks that learn from text of that ``form``."""
    return tuple(dict.fromkeys(task.model.architecture for task in TASKS.values() if form in task.forms))


def served(task: str) -> Served:
    """How a registered model of that ``task`` answers; ``UserError`` where it answers nothing by itself."""
    answers = TASKS[task].served
    if answers is None:
        raise UserError(f"A {TASKS[task].model.title} answers nothing by itself; it is neither registered nor served.")
    return answers


def compared(comparison: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """A key of ``ENTRIES``, and the figures of the language model that a comparison has there; empty where it has none."""
    return next(((entry, comparison[entry]) for entry in ENTRIES if comparison.get(entry)), ("language_model", {}))

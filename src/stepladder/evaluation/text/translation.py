"""Judges translations and summaries of held-out texts: scores, perplexity and speed, compared with copying the source."""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer

from stepladder import history
from stepladder.data import splits
from stepladder.data.card import PairLine, read_card
from stepladder.evaluation.text import encoding, files, pictures
from stepladder.evaluation.text.measure import Score, scored
from stepladder.evaluation.text.scores import (
    References,
    lowercased_tokenised_bleu,
    rouge,
    sentence_chrf,
    translation_scores,
)
from stepladder.judgement import identity
from stepladder.metrics.texts import Attention, TextMetrics, Translated
from stepladder.params import Params
from stepladder.transformer.inference.translation import encode, tokens, translate
from stepladder.transformer.networks.description import TranslationDescription
from stepladder.transformer.networks.seq2seq import Seq2Seq
from stepladder.transformer.networks.trained import SpecialTokens, load
from stepladder.transformer.training.batches import fixed_batches
from stepladder.transformer.training.loss import token_loss

Pairs = list[PairLine]


def evaluate(params: Params, data: Path, model_folder: Path, out: Path) -> TextMetrics:
    """Judge the model in ``model_folder`` on the held-out pairs of ``data``; write the results to ``out``.

    Files: ``metrics.json``; ``translations.jsonl``, and ``translations_SPLIT.jsonl`` of further test splits; ``attention.json``. ROUGE is
    measured where ``evaluation.rouge`` is set.
    """
    loaded = load(model_folder, TranslationDescription)
    counts = read_card(data)["counts"]
    out.mkdir(parents=True, exist_ok=True)
    by_split: dict[str, TextMetrics] = {}
    for split in ["test", *splits.further(counts)]:
        pairs = files.lines_of(data / f"{split}.jsonl", PairLine)
        start = time.perf_counter()
        translations = translate_pairs(*loaded, pairs, params)
        speed = len(pairs) / (time.perf_counter() - start)
        with encoding.pairs_of(data, split, pairs, *loaded[1:]) as encoded:
            split_perplexity = perplexity(loaded[0], encoded, split, SpecialTokens.of(loaded[1]))
        by_split[split] = {
            **score_translations(pairs, translations, params),
            "perplexity": split_perplexity,
            "sentences_per_second": speed,
        }
        files.write_lines(out / f"translations{split.removeprefix('test')}.jsonl", records(pairs, translations))
    judged_by = identity.judged(params, model_folder, data)
    metrics: TextMetrics = {"task": loaded[2].task, **by_split.pop("test"), "splits": by_split, "judged": judged_by}
    history.write(out / "metrics.json", metrics)
    files.write_json(out / "attention.json", attention(*loaded, files.lines_of(out / "translations.jsonl", Translated)))
    return metrics


def attention(
    model: Seq2Seq, tokenizer: Tokenizer, description: TranslationDescription, translations: list[Translated]
) -> Attention:
    """The attention that the report plots, while the model reads sources and writes its translations of them."""
    multilingual = len(description.target_languages) > 1
    readings = [
        reading(tokenizer, description, row["source"], row["translation"], row["language"] if multilingual else None)
        for row in translations[: pictures.MEASURED]
    ]
    plotted = readings[pictures.nearest(tokenizer, [row["source"] for row in translations[: len(readings)]])]
    return pictures.described(model, tokenizer, plotted, readings) | {"positions": pictures.positions(model)}


def reading(
    tokenizer: Tokenizer, description: TranslationDescription, text: str, target: str, language: str | None
) -> pictures.Reading:
    """``text`` and its translation ``target`` as token ids, the input of the model."""
    (source,) = encode(tokenizer, description, [text], language)
    written = tokenizer.encode(target, add_special_tokens=False).ids
    return source, [SpecialTokens.of(tokenizer).bos, *written]


def translate_pairs(
    model: Seq2Seq, tokenizer: Tokenizer, description: TranslationDescription, pairs: Pairs, params: Params
) -> list[str]:
    """The translation of each pair's source to its language; "" where the source is longer than the model can read."""
    translations = [""] * len(pairs)
    for language in description.target_languages:
        of_language = [i for i, p in enumerate(pairs) if p["language"] == language]
        encoded = tokens(tokenizer, description, [pairs[i]["source"] for i in of_language], language)
        fitting = [len(ids) <= description.max_length for ids in encoded]
        sources = [pairs[i]["source"] if fits else "" for i, fits in zip(of_language, fitting, strict=True)]
        texts = translate(model, tokenizer, description, sources, params.decoding, language, seed=params.seed)
        for i, text in zip(of_language, texts, strict=True):
            translations[i] = text
    return translations


def measures(pairs: Pairs, translations: list[str], *, summaries: bool) -> list[Score]:
    """All scores of ``translations``; with ROUGE where they are ``summaries``."""
    references, languages = references_of(pairs), [p["language"] for p in pairs]
    scores = translation_scores(translations, references, languages)
    older_bleu = lowercased_tokenised_bleu(translations, references, languages)
    return [*scores, *([older_bleu] if older_bleu else []), *(rouge(translations, references) if summaries else [])]


def scores_of(rows: list[Translated]) -> list[Score]:
    """The scores of the translations in the ``rows`` of ``translations.jsonl``."""
    pairs: Pairs = [
        {
            "source": row["source"],
            "target": row["reference"],
            "language": row["language"],
            "references": row.get("references") or [row["reference"]],
        }
        for row in rows
    ]
    return measures(pairs, [row["translation"] for row in rows], summaries=False)


def score_translations(pairs: Pairs, translations: list[str], params: Params) -> TextMetrics:
    """The scores of ``translations`` with intervals and signatures, and those of the source copied as it is."""
    with_rouge, section = params.evaluation.rouge, params.evaluation
    scores = measures(pairs, translations, summaries=with_rouge)
    copy_scores = measures(pairs, [p["source"] for p in pairs], summaries=with_rouge)
    return {
        **scored(scores, count=section.bootstrap, confidence=section.confidence, seed=params.seed),
        "signatures": {m.name: m.signature for m in scores if m.signature},
        "copy": {m.name: m.value for m in copy_scores},
        "exchanged": {"chrf": _exchanged_chrf(pairs)},
        "sentences": len(pairs),
    }


def _exchanged_chrf(pairs: Pairs) -> float:
    """chrF where each source gets the reference of another one, half the list away: only the language is right."""
    references, languages = references_of(pairs), [p["language"] for p in pairs]
    exchanged = [""] * len(pairs)
    for language in set(languages):
        of_language = [i for i, other in enumerate(languages) if other == language]
        for place, i in enumerate(of_language):
            exchanged[i] = references[of_language[(place + max(1, len(of_language) // 2)) % len(of_language)]][0]
    return next(m.value for m in translation_scores(exchanged, references, languages) if m.name == "chrf")


@torch.inference_mode()
def perplexity(model: Seq2Seq, data: Path, split: str, special: SpecialTokens) -> float:
    """``exp`` of the mean cross entropy of a target token, with the end token."""
    loss, count = 0.0, 0
    for batch in fixed_batches(data, split, special, budget=8192):
        loss += float(token_loss(model, batch["source"], batch["target"], wanted=batch["wanted"], smoothing=0.0))
        count += int((batch["wanted"] != special.pad).sum())
    return math.exp(min(loss / count, 700.0))


def references_of(pairs: Pairs) -> References:
    """The references of each pair: its target, or several where it has them."""
    return [p.get("references") or [p["target"]] for p in pairs]


def records(pairs: Pairs, translations: list[str]) -> list[Translated]:
    """For each pair source, reference, translation, language and chrF; all references where there are several."""
    references = references_of(pairs)
    lines: list[Translated] = [
        {"source": p["source"], "reference": p["target"], "translation": text, "language": p["language"], "chrf": chrf}
        for p, text, chrf in zip(pairs, translations, sentence_chrf(translations, references), strict=True)
    ]
    for row, several in zip(lines, references, strict=True):
        if len(several) > 1:
            row["references"] = list(several)
    return lines

"""Translations and summaries of held-out texts, judged: scores, perplexity and speed, beside copying the source."""

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
    """Judge the model in ``model_folder`` on the held-out pairs of ``data``; write what is found to ``out``.

    Files: ``metrics.json``; ``translations.jsonl``, and ``translations_SPLIT.jsonl`` of further test splits; ``attention.json``. ROUGE is
    measured where it is asked for.
    """
    loaded = load(model_folder, TranslationDescription)
    counts = read_card(data)["counts"]
    out.mkdir(parents=True, exist_ok=True)
    found: dict[str, TextMetrics] = {}
    for split in ["test", *splits.further(counts)]:
        pairs = files.lines_of(data / f"{split}.jsonl", PairLine)
        start = time.perf_counter()
        translations = translated(*loaded, pairs, params)
        speed = len(pairs) / (time.perf_counter() - start)
        with encoding.pairs_of(data, split, pairs, *loaded[1:]) as encoded:
            confusion = perplexity(loaded[0], encoded, split, SpecialTokens.of(loaded[1]))
        found[split] = {
            **judged(pairs, translations, params),
            "perplexity": confusion,
            "sentences_per_second": speed,
        }
        files.write_lines(out / f"translations{split.removeprefix('test')}.jsonl", rows(pairs, translations))
    judged_by = identity.judged(params, model_folder, data)
    metrics: TextMetrics = {"task": loaded[2].task, **found.pop("test"), "splits": found, "judged": judged_by}
    history.write(out / "metrics.json", metrics)
    files.write_json(out / "attention.json", attention(*loaded, files.lines_of(out / "translations.jsonl", Translated)))
    return metrics


def attention(
    model: Seq2Seq, tokenizer: Tokenizer, description: TranslationDescription, said: list[Translated]
) -> Attention:
    """What the report draws of the model's attention while it reads sources and says its translations of them."""
    several = len(description.target_languages) > 1
    readings = [
        reading(tokenizer, description, row["source"], row["translation"], row["language"] if several else None)
        for row in said[: pictures.MEASURED]
    ]
    shown = readings[pictures.nearest(tokenizer, [row["source"] for row in said[: len(readings)]])]
    return pictures.described(model, tokenizer, shown, readings) | {"positions": pictures.positions(model)}


def reading(
    tokenizer: Tokenizer, description: TranslationDescription, text: str, target: str, language: str | None
) -> pictures.Reading:
    """``text`` and its translation ``target`` as the model is given them."""
    (source,) = encode(tokenizer, description, [text], language)
    written = tokenizer.encode(target, add_special_tokens=False).ids
    return source, [SpecialTokens.of(tokenizer).bos, *written]


def translated(
    model: Seq2Seq, tokenizer: Tokenizer, description: TranslationDescription, pairs: Pairs, params: Params
) -> list[str]:
    """The translation of each pair's source to its language; of one that is longer than the model reads, none."""
    translations = [""] * len(pairs)
    for language in description.target_languages:
        mine = [i for i, p in enumerate(pairs) if p["language"] == language]
        read = tokens(tokenizer, description, [pairs[i]["source"] for i in mine], language)
        fitting = [len(ids) <= description.max_length for ids in read]
        sources = [pairs[i]["source"] if fits else "" for i, fits in zip(mine, fitting, strict=True)]
        texts = translate(model, tokenizer, description, sources, params.decoding, language, seed=params.seed)
        for i, text in zip(mine, texts, strict=True):
            translations[i] = text
    return translations


def measures(pairs: Pairs, translations: list[str], *, summaries: bool) -> list[Score]:
    """All scores of ``translations``; with ROUGE where they are ``summaries``."""
    references, languages = references_of(pairs), [p["language"] for p in pairs]
    found = translation_scores(translations, references, languages)
    older = lowercased_tokenised_bleu(translations, references, languages)
    return [*found, *([older] if older else []), *(rouge(translations, references) if summaries else [])]


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


def judged(pairs: Pairs, translations: list[str], params: Params) -> TextMetrics:
    """The scores of ``translations`` with intervals and signatures, and those of the source as it is."""
    asked, section = params.evaluation.rouge, params.evaluation
    found = measures(pairs, translations, summaries=asked)
    copied = measures(pairs, [p["source"] for p in pairs], summaries=asked)
    return {
        **scored(found, count=section.bootstrap, confidence=section.confidence, seed=params.seed),
        "signatures": {m.name: m.signature for m in found if m.signature},
        "copy": {m.name: m.value for m in copied},
        "exchanged": {"chrf": _exchanged(pairs)},
        "sentences": len(pairs),
    }


def _exchanged(pairs: Pairs) -> float:
    """chrF where each source gets the reference of another, half the list away: right in nothing but the language."""
    references, languages = references_of(pairs), [p["language"] for p in pairs]
    said = [""] * len(pairs)
    for language in set(languages):
        mine = [i for i, known in enumerate(languages) if known == language]
        for place, i in enumerate(mine):
            said[i] = references[mine[(place + max(1, len(mine) // 2)) % len(mine)]][0]
    return next(m.value for m in translation_scores(said, references, languages) if m.name == "chrf")


@torch.inference_mode()
def perplexity(model: Seq2Seq, data: Path, split: str, special: SpecialTokens) -> float:
    """``exp`` of the mean cross entropy a target token, the end included."""
    loss, count = 0.0, 0
    for batch in fixed_batches(data, split, special, budget=8192):
        loss += float(token_loss(model, batch["source"], batch["target"], wanted=batch["wanted"], smoothing=0.0))
        count += int((batch["wanted"] != special.pad).sum())
    return math.exp(min(loss / count, 700.0))


def references_of(pairs: Pairs) -> References:
    """What counts as right for each pair: its target, or several where it has them."""
    return [p.get("references") or [p["target"]] for p in pairs]


def rows(pairs: Pairs, translations: list[str]) -> list[Translated]:
    """Of each pair source, reference, translation, language and chrF; other references where there are."""
    references = references_of(pairs)
    found: list[Translated] = [
        {"source": p["source"], "reference": p["target"], "translation": text, "language": p["language"], "chrf": chrf}
        for p, text, chrf in zip(pairs, translations, sentence_chrf(translations, references), strict=True)
    ]
    for row, several in zip(found, references, strict=True):
        if len(several) > 1:
            row["references"] = list(several)
    return found

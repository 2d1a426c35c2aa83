"""How good translations are: sacreBLEU, chrF, exact match, perplexity and speed, beside copying the source."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from tokenizers import Tokenizer

from stepladder.params import Params
from stepladder.transformer.attention_maps import attention_maps
from stepladder.transformer.loss import token_loss
from stepladder.transformer.seq2seq import Seq2Seq
from stepladder.transformer.task import fixed_batches
from stepladder.transformer.trained import SpecialTokens, load
from stepladder.transformer.translation import encode, translate

ATTENTION_LENGTH = 12  # tokens of the source whose attention is shown, at most


@dataclass(frozen=True)
class Scores:
    """Corpus scores: BLEU and chrF from 0 to 100, exact match from 0 to 1, with sacreBLEU's signatures."""

    bleu: float
    chrf: float
    exact_match: float
    signatures: dict[str, str]


def score(translations: list[str], references: list[str], language: str = "") -> Scores:
    """Corpus scores of ``translations`` against one reference each, cased and detokenised (Post 2018; Popovic 2015).

    Args:
        language: of the references, for BLEU's tokenisation: "zh" for Chinese, characters for Japanese, else 13a.
    """
    bleu = BLEU(tokenize={"zh": "zh", "ja": "char"}.get(language[:2], "13a"))
    chrf = CHRF()
    exact = sum(t == r for t, r in zip(translations, references, strict=True)) / max(len(references), 1)
    return Scores(
        bleu=bleu.corpus_score(translations, [references]).score,
        chrf=chrf.corpus_score(translations, [references]).score,
        exact_match=exact,
        signatures={"bleu": str(bleu.get_signature()), "chrf": str(chrf.get_signature())},
    )


def sentence_chrf(translations: list[str], references: list[str]) -> list[float]:
    """chrF of each translation by itself."""
    chrf = CHRF()
    return [chrf.sentence_score(t, [r]).score for t, r in zip(translations, references, strict=True)]


def bootstrap(
    translations: list[str], references: list[str], *, resamples: int, confidence: float, seed: int
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of corpus chrF and exact match over resampled sentences (Koehn 2004).

    Returns:
        ``{"chrf": (low, high), "exact_match": (low, high)}``.
    """
    chrf = CHRF()
    statistics = np.array(chrf._extract_corpus_statistics(translations, [references]), dtype=np.int64)
    exact = np.array([t == r for t, r in zip(translations, references, strict=True)])
    rows = np.random.default_rng(seed).integers(len(references), size=(resamples, len(references)))
    drawn = {
        "chrf": np.array([chrf._compute_f_score(statistics[r].sum(0).tolist()) for r in rows]),
        "exact_match": exact[rows].mean(1),
    }
    tail = 100 * (1 - confidence) / 2
    return {name: _interval(values, tail) for name, values in drawn.items()}


@torch.inference_mode()
def perplexity(model: Seq2Seq, data: Path, split: str, special: SpecialTokens) -> float:
    """``exp`` of the mean cross entropy a target token, the end included."""
    loss, count = 0.0, 0
    for batch in fixed_batches(data, split, special, budget=8192):
        loss += float(token_loss(model, batch["source"], batch["target"], wanted=batch["wanted"], smoothing=0.0))
        count += int((batch["wanted"] != special.pad).sum())
    return math.exp(min(loss / count, 700.0))


def evaluate(params: Params, data: Path, model_folder: Path, out: Path) -> dict[str, Any]:
    """Judge the model in ``model_folder`` on the held-out pairs of ``data``; write what is found to ``out``.

    Files: ``metrics.json``, ``translations.jsonl`` (each with its own chrF), ``attention.json`` (cross attention of one
    held-out sentence, ``[layer][head][target][source]``).

    Returns:
        The metrics: ``bleu``, ``chrf``, ``exact_match``, ``perplexity``, ``sentences_per_second``, ``signatures``,
        ``copy`` (the scores of the untranslated source), ``sentences``, and intervals ``*_low``, ``*_high``.
    """
    model, tokenizer, config = load(model_folder)
    pairs = [json.loads(line) for line in (data / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    sources, references = [p["source"] for p in pairs], [p["target"] for p in pairs]

    start = time.perf_counter()
    translations = [""] * len(pairs)
    for language in config["target_languages"]:
        mine = [i for i, p in enumerate(pairs) if p["language"] == language]
        texts = translate(model, tokenizer, config, [sources[i] for i in mine], params.decoding, language)
        for i, text in zip(mine, texts, strict=True):
            translations[i] = text
    seconds = time.perf_counter() - start

    languages = config["target_languages"]
    language = languages[0] if len(languages) == 1 else ""
    found, copied = score(translations, references, language), score(sources, references, language)
    intervals = bootstrap(
        translations,
        references,
        resamples=params.evaluation.bootstrap,
        confidence=params.evaluation.confidence,
        seed=params.seed,
    )
    metrics = {
        "bleu": found.bleu,
        "chrf": found.chrf,
        "exact_match": found.exact_match,
        "perplexity": perplexity(model, data, "test", SpecialTokens.of(tokenizer)),
        "sentences_per_second": len(pairs) / seconds,
        "signatures": found.signatures,
        "copy": {"bleu": copied.bleu, "chrf": copied.chrf, "exact_match": copied.exact_match},
        "sentences": len(pairs),
    }
    for name, (low, high) in intervals.items():
        metrics |= {f"{name}_low": low, f"{name}_high": high}

    out.mkdir(parents=True, exist_ok=True)
    _write(out / "metrics.json", metrics)
    quality = sentence_chrf(translations, references)
    rows = zip(sources, references, translations, quality, strict=True)
    names = ("source", "reference", "translation", "chrf")
    lines = [json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) for row in rows]
    (out / "translations.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    shown = _shown(tokenizer, sources)
    _write(out / "attention.json", attention_map(model, tokenizer, config, sources[shown], translations[shown],
                                                 pairs[shown]["language"]))  # fmt: skip
    return metrics


def attention_map(
    model: Seq2Seq, tokenizer: Tokenizer, config: dict[str, Any], source: str, target: str, language: str | None = None
) -> dict[str, Any]:
    """The decoder's cross attention while it reads ``source`` and says ``target``.

    Returns:
        ``source_tokens`` (S), ``target_tokens`` (T), as text, and ``weights`` ``[layer][head][T][S]``: where the model
        looked when it chose each target token, the end of the sentence included.
    """
    special = SpecialTokens.of(tokenizer)
    (source_ids,) = encode(tokenizer, config, [source], language)
    target_ids = tokenizer.encode(target, add_special_tokens=False).ids
    maps = attention_maps(model, torch.tensor(source_ids), torch.tensor([special.bos, *target_ids]))
    return {
        "source_tokens": [_text(tokenizer, i) for i in source_ids],
        "target_tokens": [_text(tokenizer, i) for i in [*target_ids, special.eos]],
        "weights": [[[[round(w, 4) for w in t] for t in head] for head in layer] for layer in maps["cross"].tolist()],
    }


def _shown(tokenizer: Tokenizer, sources: list[str]) -> int:
    """The held-out sentence whose attention is shown: the first of those nearest to ``ATTENTION_LENGTH`` tokens."""
    lengths = [len(e.ids) for e in tokenizer.encode_batch(sources, add_special_tokens=False)]
    return min(range(len(lengths)), key=lambda i: abs(lengths[i] - ATTENTION_LENGTH))


def _text(tokenizer: Tokenizer, token: int) -> str:
    return tokenizer.decode([token], skip_special_tokens=False) or tokenizer.id_to_token(token) or ""


def _interval(values: npt.NDArray[np.floating], tail: float) -> tuple[float, float]:
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def _write(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")

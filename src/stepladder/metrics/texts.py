"""The figures of language models: ``evaluation.text`` makes them, docs/decoding.md says how; some a study, from a curve."""

from __future__ import annotations

from stepladder.metrics.metric import ACCURACY, TEXTS, Metric

PAIRS, LINES = ("pairs",), ("lines",)
FIGURES = {
    "chrf": Metric("chrF", 1, of=PAIRS, headline=True),
    "bleu": Metric("BLEU", 1, of=PAIRS, headline=True),
    "ter": Metric("TER", -1, of=PAIRS, headline=True),
    "bleu_lowercased_tokenised": Metric("BLEU, lower-cased, Moses-tokenised", 1, of=PAIRS, headline=True),
    "rouge1": Metric("ROUGE-1", 1, of=PAIRS),
    "rouge2": Metric("ROUGE-2", 1, of=PAIRS),
    "rougel": Metric("ROUGE-L", 1, of=PAIRS, headline=True),
    "exact_match": Metric("exact match", 1, share=True, of=PAIRS, headline=True),
    "bits_per_character": Metric("bits a character", -1, of=LINES, headline=True),
    "perplexity": Metric("perplexity", -1, of=PAIRS + LINES, headline=True),
    "loss": Metric("validation loss, nats", -1, of=TEXTS, headline=True),
    "accuracy": ACCURACY,
    "macro_f1": Metric("macro-F1", 1, share=True, of=("labels",), headline=True),
    "loss_1x": Metric("loss at the trained length, nats", -1, of=LINES),
    "loss_2x": Metric("loss at twice the length, nats", -1, of=LINES),
    "loss_4x": Metric("loss at four times the length, nats", -1, of=LINES),
    "gap": Metric("validation loss less training loss", -1, signed=True, of=TEXTS, judged=False),
    "gradient_ratio": Metric(
        "gradient norms at the first step, largest layer over smallest", -1, of=TEXTS, judged=False
    ),
}
JUDGED = tuple(name for name, metric in FIGURES.items() if metric.judged)

"""How well texts are classified: accuracy and macro-F1, compared with always predicting the commonest class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from tokenizers import Tokenizer

from stepladder import history
from stepladder.data import splits
from stepladder.data.card import LabelLine, LabelsCard, card_of
from stepladder.evaluation.text import files, pictures
from stepladder.evaluation.text.measure import Floats, Score, scored
from stepladder.judgement import identity
from stepladder.metrics.texts import TextMetrics
from stepladder.params import Params
from stepladder.transformer.inference.classification import classify, encode
from stepladder.transformer.networks.description import TextClassifierDescription
from stepladder.transformer.networks.trained import load


class Predicted(LabelLine):
    """The prediction for a text, a line of ``predictions.jsonl``."""

    predicted: str
    probability: float


def evaluate(params: Params, data: Path, model_folder: Path, out: Path) -> TextMetrics:
    """Judge the classifier in ``model_folder`` on the held-out texts of ``data``; write the results to ``out``.

    Files: ``metrics.json``; ``predictions.jsonl``, and ``predictions_SPLIT.jsonl`` of further test splits; ``attention.json``.
    ``accuracy`` and ``macro_f1`` have intervals over texts.
    """
    model, tokenizer, description = load(model_folder, TextClassifierDescription)
    card, section, classes = card_of(data, LabelsCard), params.evaluation, [*description.classes]
    commonest = max(classes, key=card["counts_by_class"]["train"].__getitem__)
    out.mkdir(parents=True, exist_ok=True)
    by_split: dict[str, TextMetrics] = {}
    for split in ["test", *splits.further(card["counts"])]:
        lines = files.lines_of(data / f"{split}.jsonl", LabelLine)
        probabilities = classify(model, tokenizer, description, [line["text"] for line in lines])
        best = probabilities.max(dim=1)
        rows: list[Predicted] = [
            {**line, "predicted": classes[i], "probability": round(p, 4)}
            for line, i, p in zip(lines, best.indices.tolist(), best.values.tolist(), strict=True)
        ]
        files.write_lines(out / f"predictions{split.removeprefix('test')}.jsonl", rows)
        by_split[split] = {
            **scored(measures(rows), count=section.bootstrap, confidence=section.confidence, seed=params.seed),
            "majority": {m.name: m.value for m in measures([row | {"predicted": commonest} for row in rows])},
            **details(rows, classes),
        }
    metrics: TextMetrics = {"task": description.task, **by_split.pop("test"), "classes": classes, "splits": by_split}
    metrics["judged"] = identity.judged(params, model_folder, data)
    history.write(out / "metrics.json", metrics)
    texts = [row["text"] for row in files.lines_of(data / "test.jsonl", LabelLine)[: pictures.MEASURED]]
    readings = [reading(tokenizer, description, text) for text in texts]
    plotted = readings[pictures.nearest(tokenizer, texts)]
    files.write_json(
        out / "attention.json",
        pictures.described(model, tokenizer, plotted, readings) | {"positions": pictures.positions(model)},
    )
    return metrics


def reading(tokenizer: Tokenizer, description: TextClassifierDescription, text: str, *_: object) -> pictures.Reading:
    """``text`` as token ids, the input of the model."""
    return encode(tokenizer, [text])


def measures(rows: list[Predicted]) -> list[Score]:
    """Accuracy, and the mean over classes of F1 (0 for a class that neither occurs nor is predicted)."""
    classes = sorted({row["label"] for row in rows} | {row["predicted"] for row in rows})
    pairs = [(classes.index(row["label"]), classes.index(row["predicted"])) for row in rows]
    label, predicted = np.array(pairs).T
    guessed, true = np.eye(len(classes))[predicted], np.eye(len(classes))[label]
    correct = np.stack([label == predicted, np.ones(len(rows))], axis=1).astype(np.float64)

    def macro_f1(total: Floats) -> float:
        hits, totals = np.split(total, 2)
        return float((2 * hits / np.maximum(totals, 1)).mean())

    return [
        Score("accuracy", correct, lambda total: float(total[0] / total[1])),
        Score("macro_f1", np.concatenate([guessed * true, guessed + true], axis=1), macro_f1),
    ]


def details(rows: list[Predicted], classes: list[str]) -> TextMetrics:
    """Precision, recall, F1 and number of each class, and the confusion matrix."""
    label, predicted = [row["label"] for row in rows], [row["predicted"] for row in rows]
    columns = precision_recall_fscore_support(label, predicted, labels=classes, zero_division=0)
    return {
        "by_class": {
            name: {"precision": float(precision), "recall": float(recall), "f1": float(f1), "texts": int(texts)}
            for name, precision, recall, f1, texts in zip(classes, *columns, strict=True)
        },
        "confusion": confusion_matrix(label, predicted, labels=classes).tolist(),
        "texts": len(rows),
    }

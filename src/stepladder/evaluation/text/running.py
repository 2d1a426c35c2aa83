"""How well a model predicts running text: bits per character, perplexity; and how it continues passages."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TypedDict, cast

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from stepladder import history
from stepladder.data import splits
from stepladder.data.card import TextCard, card_of, read_card
from stepladder.data.tokenizer import LINE
from stepladder.evaluation.text import encoding, files, pictures
from stepladder.evaluation.text.extrapolation import extrapolation
from stepladder.evaluation.text.measure import Floats, Score, scored
from stepladder.judgement import identity
from stepladder.metrics.texts import TextMetrics
from stepladder.params import Params
from stepladder.transformer.inference.generation import generate
from stepladder.transformer.networks.causal_lm import CausalLM
from stepladder.transformer.networks.description import CausalLMDescription
from stepladder.transformer.networks.trained import load

BUDGET = 8192  # tokens in a batch
CONTINUED = 6  # passages continued for the report
LENGTHS = (1, 2, 4)  # of windows, in training lengths
EXTRAPOLATED = 32_768  # most tokens of the held-out text that longer windows are judged on


class LineLoss(TypedDict):
    """How well a line of the text is predicted, a line of ``losses.jsonl``."""

    text: str
    characters: int
    tokens: int
    nats: float


def evaluate(params: Params, data: Path, model_folder: Path, out: Path) -> TextMetrics:
    """Judge the causal language model in ``model_folder`` on the held-out text of ``data``; write it to ``out``.

    Files: ``metrics.json``; ``losses.jsonl``, and ``losses_SPLIT.jsonl`` of further test splits; ``continuations.jsonl``;
    ``attention.json``. ``bits_per_character``, ``perplexity`` (a token) and ``loss`` (nats a token) have intervals over lines. Of ``test``
    alone there are ``loss_1x``, ``loss_2x`` and ``loss_4x``, beyond the training length (see ``extrapolation``), where the text is long
    enough and the model has positions for it.
    """
    model, tokenizer, description = load(model_folder, CausalLMDescription)
    context, section = description.context, params.evaluation
    unigram = encoding.unigram(np.load(data / "train.npy", mmap_mode="r"), card_of(data, TextCard)["vocab_size"])
    out.mkdir(parents=True, exist_ok=True)
    by_split: dict[str, TextMetrics] = {}
    for split in ["test", *splits.further(read_card(data)["counts"])]:
        text = (data / f"{split}.txt").read_bytes().decode()
        tokens, prepared = encoding.running(data, split, text, tokenizer), np.load(data / f"{split}.npy")
        rows = by_line(tokenizer, text, losses(model, tokens, context))
        files.write_lines(out / f"losses{split.removeprefix('test')}.jsonl", rows)
        characters = sum(row["characters"] for row in rows)
        by_split[split] = {
            **scored(measures(rows), count=section.bootstrap, confidence=section.confidence, seed=params.seed),
            "unigram_bits_per_character": float(unigram[prepared[1:]].sum()) / math.log(2) / characters,
            "characters": characters,
            "tokens": len(tokens) - 1,
        }
    protocol = {
        "bits per character": "nats of every token but the first / ln 2 / characters of their text",
        "context": f"windows of {context} tokens that slide by {_stride(context)}: a token is foretold from the "
        f"{context - _stride(context) + 1} to {context} before it, at the beginning from all there are",
    }
    text = (data / "test.txt").read_bytes().decode()
    long_windows = extrapolated(model, encoding.running(data, "test", text, tokenizer), context)
    if long_windows:
        protocol["loss 1x, 2x, 4x"] = (
            f"of the last {context} tokens of windows of 1, 2 and 4 times {context} tokens that end alike, in the first "
            f"{EXTRAPOLATED:,} tokens"
        )
    metrics: TextMetrics = {
        "task": description.task,
        **by_split.pop("test"),
        **long_windows,
        "splits": by_split,
        "protocol": protocol,
    }
    metrics["judged"] = identity.judged(params, model_folder, data)
    history.write(out / "metrics.json", metrics)
    files.write_lines(out / "continuations.jsonl", continuations(model, tokenizer, description, text, params))
    passages = _passages(text, pictures.MEASURED)
    readings = [pictures.reading(tokenizer, description, passage) for passage in passages]
    plotted = [readings[0][0][: 2 * pictures.SHOWN]]
    files.write_json(
        out / "attention.json",
        pictures.described(model, tokenizer, plotted, readings) | {"positions": pictures.positions(model)},
    )
    return metrics


def extrapolated(model: CausalLM, tokens: Tensor, context: int) -> TextMetrics:
    """``loss_1x``, ``loss_2x``, ``loss_4x`` in nats a token; none where the text is shorter than the longest window."""
    if len(tokens) <= max(LENGTHS) * context:
        return {}
    losses_by_length = extrapolation(model, tokens[:EXTRAPOLATED], context, LENGTHS)
    return cast(TextMetrics, {f"loss_{length // context}x": loss for length, loss in losses_by_length.items()})


@torch.inference_mode()
def losses(model: CausalLM, tokens: Tensor, context: int) -> Tensor:
    """The cross entropy in nats of every token of ``tokens`` ``(N,)`` but the first: ``(N - 1,)``.

    Windows of ``context`` tokens slide by half of it; each counts the tokens that the one before did not.
    """
    stride, last = _stride(context), len(tokens) - 1
    result = torch.empty(last)
    starts = list(range(0, max(last - context, 0) + stride, stride))
    for batch in range(0, len(starts), max(1, BUDGET // context)):
        batch_starts = torch.tensor(starts[batch : batch + max(1, BUDGET // context)])
        places = batch_starts[:, None] + torch.arange(context)
        inside = places < last
        inputs, targets = tokens[places.clamp(max=last)], tokens[(places + 1).clamp(max=last)]
        nats = F.cross_entropy(model(inputs).float().flatten(0, 1), targets.flatten(), reduction="none").view_as(inputs)
        new = inside & ((torch.arange(context) >= context - stride) | (batch_starts == 0)[:, None])
        result[places[new]] = nats[new]
    return result


def by_line(tokenizer: Tokenizer, text: str, nats: Tensor) -> list[LineLoss]:
    """Characters, tokens and nats of each line of ``text``, whose tokens but the first have ``nats``."""
    lines = LINE.findall(text)
    lengths = [len(e.ids) for e in tokenizer.encode_batch(lines, add_special_tokens=False)]
    first = len(tokenizer.decode(tokenizer.encode(lines[0], add_special_tokens=False).ids[:1]))
    ends = np.cumsum(lengths) - 1  # the first token has none
    sums = np.diff(np.concatenate([[0.0], np.concatenate([[0.0], nats.double().cumsum(0).numpy()])[ends]]))
    return [
        {"text": line, "characters": len(line) - (0 if i else first), "tokens": count - (0 if i else 1), "nats": total}
        for i, (line, count, total) in enumerate(zip(lines, lengths, sums.tolist(), strict=True))
    ]


def measures(rows: list[LineLoss]) -> list[Score]:
    """Scores of the text whose lines are ``rows``."""
    statistics = np.array([[row["nats"], row["characters"], row["tokens"]] for row in rows], dtype=np.float64)

    def bits(total: Floats) -> float:
        return float(total[0] / math.log(2) / total[1])

    def loss(total: Floats) -> float:
        return float(total[0] / total[2])

    return [
        Score("bits_per_character", statistics, bits),
        Score("perplexity", statistics, lambda total: math.exp(min(loss(total), 700.0))),
        Score("loss", statistics, loss),
    ]


def continuations(
    model: CausalLM, tokenizer: Tokenizer, description: CausalLMDescription, text: str, params: Params
) -> list[dict[str, str]]:
    """Held-out passages, how the text continues and how the model does: ``prompt``, ``text``, ``continuation``."""
    prompts = _passages(text, CONTINUED)
    continued = generate(model, tokenizer, description, prompts, params.decoding, seed=params.seed)
    starts = [text.index(prompt) + len(prompt) for prompt in prompts]
    return [
        {"prompt": prompt, "text": text[start : start + len(continuation)], "continuation": continuation}
        for prompt, start, continuation in zip(prompts, starts, continued, strict=True)
    ]


def _passages(text: str, count: int) -> list[str]:
    """Beginnings of evenly spread lines, of at most a hundred characters each."""
    lines = [line for line in LINE.findall(text) if line.strip()]
    chosen = lines[:: max(1, len(lines) // count)][:count]
    return [line[:100] for line in chosen]


def _stride(context: int) -> int:
    return max(1, context // 2)

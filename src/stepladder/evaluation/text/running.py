"""How well a model foretells running text: bits a character, perplexity; and how it goes on."""

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

BUDGET = 8192  # tokens read at once
CONTINUED = 6  # passages continued for the report
LENGTHS = (1, 2, 4)  # windows, in training lengths
EXTRAPOLATED = 32_768  # tokens of the held-out text, at most, that longer windows are judged on


class Foretold(TypedDict):
    """How well a line of the text is foretold, a line of ``losses.jsonl``."""

    text: str
    characters: int
    tokens: int
    nats: float


def evaluate(params: Params, data: Path, model_folder: Path, out: Path) -> TextMetrics:
    """Judge the causal language model in ``model_folder`` on the held-out text of ``data``; write it to ``out``.

    Files: ``metrics.json``; ``losses.jsonl``, and ``losses_SPLIT.jsonl`` of further test splits; ``continuations.jsonl``;
    ``attention.json``. ``bits_per_character``, ``perplexity`` (a token) and ``loss`` (nats a token) have intervals over lines. Of ``test``
    alone there are ``loss_1x``, ``loss_2x`` and ``loss_4x``, beyond the training length (see ``extrapolation``), where the text is long
    enough and positions reach so far.
    """
    model, tokenizer, description = load(model_folder, CausalLMDescription)
    context, section = description.context, params.evaluation
    unigram = encoding.unigram(np.load(data / "train.npy", mmap_mode="r"), card_of(data, TextCard)["vocab_size"])
    out.mkdir(parents=True, exist_ok=True)
    found: dict[str, TextMetrics] = {}
    for split in ["test", *splits.further(read_card(data)["counts"])]:
        text = (data / f"{split}.txt").read_bytes().decode()
        tokens, prepared = encoding.running(data, split, text, tokenizer), np.load(data / f"{split}.npy")
        rows = by_line(tokenizer, text, losses(model, tokens, context))
        files.write_lines(out / f"losses{split.removeprefix('test')}.jsonl", rows)
        characters = sum(row["characters"] for row in rows)
        found[split] = {
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
    beyond = extrapolated(model, encoding.running(data, "test", text, tokenizer), context)
    if beyond:
        protocol["loss 1x, 2x, 4x"] = (
            f"of the last {context} tokens of windows of 1, 2 and 4 times {context} tokens that end alike, in the first "
            f"{EXTRAPOLATED:,} tokens"
        )
    metrics: TextMetrics = {
        "task": description.task,
        **found.pop("test"),
        **beyond,
        "splits": found,
        "protocol": protocol,
    }
    metrics["judged"] = identity.judged(params, model_folder, data)
    history.write(out / "metrics.json", metrics)
    files.write_lines(out / "continuations.jsonl", continuations(model, tokenizer, description, text, params))
    passages = _passages(text, pictures.MEASURED)
    readings = [pictures.reading(tokenizer, description, passage) for passage in passages]
    shown = [readings[0][0][: 2 * pictures.SHOWN]]
    files.write_json(
        out / "attention.json",
        pictures.described(model, tokenizer, shown, readings) | {"positions": pictures.positions(model)},
    )
    return metrics


def extrapolated(model: CausalLM, tokens: Tensor, context: int) -> TextMetrics:
    """``loss_1x``, ``loss_2x``, ``loss_4x`` in nats a token; none where the text is shorter than the longest window."""
    if len(tokens) <= max(LENGTHS) * context:
        return {}
    found = extrapolation(model, tokens[:EXTRAPOLATED], context, LENGTHS)
    return cast(TextMetrics, {f"loss_{length // context}x": loss for length, loss in found.items()})


@torch.inference_mode()
def losses(model: CausalLM, tokens: Tensor, context: int) -> Tensor:
    """The cross entropy in nats of every token of ``tokens`` ``(N,)`` but the first: ``(N - 1,)``.

    Windows of ``context`` tokens slide by half of it, and each counts what the one before did not.
    """
    stride, last = _stride(context), len(tokens) - 1
    found = torch.empty(last)
    starts = list(range(0, max(last - context, 0) + stride, stride))
    for batch in range(0, len(starts), max(1, BUDGET // context)):
        chosen = torch.tensor(starts[batch : batch + max(1, BUDGET // context)])
        places = chosen[:, None] + torch.arange(context)
        inside = places < last
        read, wanted = tokens[places.clamp(max=last)], tokens[(places + 1).clamp(max=last)]
        nats = F.cross_entropy(model(read).float().flatten(0, 1), wanted.flatten(), reduction="none").view_as(read)
        new = inside & ((torch.arange(context) >= context - stride) | (chosen == 0)[:, None])
        found[places[new]] = nats[new]
    return found


def by_line(tokenizer: Tokenizer, text: str, nats: Tensor) -> list[Foretold]:
    """Characters, tokens and nats of each line of ``text``, whose tokens but the first have ``nats``."""
    lines = LINE.findall(text)
    lengths = [len(e.ids) for e in tokenizer.encode_batch(lines, add_special_tokens=False)]
    first = len(tokenizer.decode(tokenizer.encode(lines[0], add_special_tokens=False).ids[:1]))
    ends = np.cumsum(lengths) - 1  # the first token has none
    sums = np.diff(np.concatenate([[0.0], np.concatenate([[0.0], nats.double().cumsum(0).numpy()])[ends]]))
    return [
        {"text": line, "characters": len(line) - (0 if i else first), "tokens": n - (0 if i else 1), "nats": total}
        for i, (line, n, total) in enumerate(zip(lines, lengths, sums.tolist(), strict=True))
    ]


def measures(rows: list[Foretold]) -> list[Score]:
    """Scores of a text of which ``rows`` tell the lines."""
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
    """Held-out passages, how the text goes on and how the model does: ``prompt``, ``text``, ``continuation``."""
    prompts = _passages(text, CONTINUED)
    found = generate(model, tokenizer, description, prompts, params.decoding, seed=params.seed)
    starts = [text.index(prompt) + len(prompt) for prompt in prompts]
    return [
        {"prompt": prompt, "text": text[start : start + len(said)], "continuation": said}
        for prompt, start, said in zip(prompts, starts, found, strict=True)
    ]


def _passages(text: str, count: int) -> list[str]:
    """Beginnings of evenly spread lines, a hundred characters or a line each."""
    lines = [line for line in LINE.findall(text) if line.strip()]
    chosen = lines[:: max(1, len(lines) // count)][:count]
    return [line[:100] for line in chosen]


def _stride(context: int) -> int:
    return max(1, context // 2)

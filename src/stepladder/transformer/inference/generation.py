"""A trained causal language model in use: a prompt in, how it goes on out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from stepladder.data.tokenizer import encode
from stepladder.errors import UserError
from stepladder.params import Decoding
from stepladder.transformer.inference.decoding import beam_search, greedy
from stepladder.transformer.inference.sampling import sample, stream
from stepladder.transformer.networks.causal_lm import CausalLM
from stepladder.transformer.networks.description import CausalLMDescription
from stepladder.transformer.networks.trained import SpecialTokens

UNFINISHED = "\ufffd"  # stands for a character whose later bytes are still to come


def generate(
    model: CausalLM,
    tokenizer: Tokenizer,
    description: CausalLMDescription,
    prompts: list[str],
    decoding: Decoding,
    *,
    seed: int = 0,
) -> list[str]:
    """How each of ``prompts`` goes on, without the prompt; that of prompt ``i`` depends on ``seed`` and ``i`` alone.

    Raises:
        UserError: a prompt is empty, or fills the model's full context, within which a search stays.
    """
    encoded = [_encoded(tokenizer, prompt) for prompt in prompts]
    continuations: dict[int, list[int]] = {}
    for length in sorted({len(ids) for ids in encoded}):
        rows = [i for i, ids in enumerate(encoded) if len(ids) == length]
        source = torch.tensor([encoded[i] for i in rows], device=next(model.parameters()).device)
        continuations |= zip(rows, _continued(model, tokenizer, description, source, decoding, seed, rows), strict=True)
    return [tokenizer.decode(continuations[i]) for i in range(len(prompts))]


def answer(
    loaded: tuple[Any, Any, Any], texts: list[str], settings: Mapping[str, Any], options: Mapping[str, Any]
) -> dict[str, list[str]]:
    """How ``texts`` go on by a model that is ``loaded``, as its ``settings`` and a request's ``options`` say."""
    overrides = {key: value for key, value in options.items() if key != "seed"}
    decoding = Decoding.model_validate(settings["decoding"] | overrides)
    return {"continuation": generate(*loaded, texts, decoding, seed=options.get("seed", 0))}


def generate_stream(
    model: CausalLM,
    tokenizer: Tokenizer,
    description: CausalLMDescription,
    prompt: str,
    decoding: Decoding,
    *,
    count: int = 1,
    seed: int = 0,
) -> Iterator[tuple[int, str]]:
    """Sample ``count`` continuations of ``prompt`` together; yields (number of the sample, its next piece of text).

    Raises:
        UserError: the prompt is empty, or ``decoding`` does not sample.
    """
    if decoding.method != "sample":
        raise UserError(
            "A beam search knows its text only at the end; set decoding.method to sample (top_k=1: greedy)."
        )
    source = torch.tensor([_encoded(tokenizer, prompt)] * count, device=next(model.parameters()).device)
    special, context = SpecialTokens.of(tokenizer), description.context
    tokens: list[list[int]] = [[] for _ in range(count)]
    emitted = [""] * count
    for step in stream(model, source, decoding, bos=special.bos, eos=special.eos, seed=seed, context=context):
        for row, token in step:
            tokens[row].append(token)
            text = tokenizer.decode(tokens[row])
            if not text.endswith(UNFINISHED) and text.startswith(emitted[row]):
                yield row, text[len(emitted[row]) :]
                emitted[row] = text
    for row, ids in enumerate(tokens):
        if rest := tokenizer.decode(ids)[len(emitted[row]) :]:
            yield row, rest


def _continued(
    model: CausalLM,
    tokenizer: Tokenizer,
    description: CausalLMDescription,
    source: Tensor,
    decoding: Decoding,
    seed: int,
    rows: list[int],
) -> list[list[int]]:
    ends, context = _ends(tokenizer), description.context
    if decoding.method == "sample":
        return sample(model, source, decoding, seed=seed, samples=rows, context=context, **ends)
    longest = min(decoding.max_length, context - source.shape[1])
    if longest < 1:
        raise UserError(
            f"The prompt has {source.shape[1]} tokens; a search stays in the model's context of {context}: shorten it, or set "
            "decoding.method to sample."
        )
    if decoding.beam_size == 1:
        return greedy(model, source, max_length=longest, **ends)
    size, alpha = decoding.beam_size, decoding.length_penalty
    return [h[0].tokens for h in beam_search(model, source, beam_size=size, alpha=alpha, max_length=longest, **ends)]


def _encoded(tokenizer: Tokenizer, prompt: str) -> list[int]:
    ids = encode(tokenizer, prompt)
    if not ids:
        raise UserError("The prompt is empty; give at least a character, such as a line break.")
    return ids


def _ends(tokenizer: Tokenizer) -> dict[str, int]:
    special = SpecialTokens.of(tokenizer)
    return {"bos": special.bos, "eos": special.eos}

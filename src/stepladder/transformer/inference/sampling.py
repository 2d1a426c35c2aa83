"""Sampling tokens instead of searching for the likeliest: what changes the distribution, and the loop that samples from it.

Each function of logits returns new logits, ``-inf`` where a token can no longer be sampled, and leaves at least one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stepladder.params import Decoding
from stepladder.transformer.inference.decoding import Model, start_tokens

COLD = 1e-3


def temperature(logits: Tensor, value: float) -> Tensor:
    """``logits / value``, above 0: below 1 the likely becomes likelier, above 1 all become more equal.

    At a very low one the quotient would leave the numbers' range: there the likeliest is brought to 0 first, which changes no
    probability.
    """
    if value < COLD:
        logits = logits - logits.amax(-1, keepdim=True)
    return logits / value


def top_k(logits: Tensor, k: int) -> Tensor:
    """The ``k`` likeliest of ``logits`` ``(..., V)`` (Fan et al. 2018), and what ties with the last of them; 0: all."""
    if not 0 < k < logits.shape[-1]:
        return logits
    return logits.masked_fill(logits < logits.topk(k).values[..., -1:], -torch.inf)


def top_p(logits: Tensor, p: float) -> Tensor:
    """The fewest tokens whose probabilities sum up to ``p`` or more: the nucleus (Holtzman et al. 2020, equation 2); 1: all."""
    if p >= 1:
        return logits
    ordered, order = logits.sort(descending=True, stable=True)
    probabilities = ordered.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities  # of all that are likelier
    return logits.masked_fill((before >= p).scatter(-1, order, before >= p), -torch.inf)


def min_p(logits: Tensor, p: float) -> Tensor:
    """Tokens at least ``p`` times as likely as the likeliest (Nguyen et al. 2024, equation 2); 0: all."""
    if p <= 0:
        return logits
    probabilities = logits.softmax(-1)
    return logits.masked_fill(probabilities < p * probabilities.amax(-1, keepdim=True), -torch.inf)


def repetition_penalty(logits: Tensor, history: Tensor, penalty: float) -> Tensor:
    """Make tokens of ``history`` ``(B, T)`` less likely in ``logits`` ``(B, V)``; 1: as likely (Keskar et al. 2019, section 4.1).

    A positive logit is divided by ``penalty``, a negative one multiplied, as is usual since: the paper's division would make
    what is unlikely likelier.
    """
    if penalty == 1:
        return logits
    repeated = logits.gather(1, history)
    return logits.scatter(1, history, torch.where(repeated > 0, repeated / penalty, repeated * penalty))


def adjusted(logits: Tensor, history: Tensor, decoding: Decoding) -> Tensor:
    """Logits ``(B, V)`` to sample from, after tokens ``history`` ``(B, T)``: penalty, temperature, top-k, top-p, min-p."""
    logits = repetition_penalty(logits, history, decoding.repetition_penalty)
    logits = top_k(temperature(logits, decoding.temperature), decoding.top_k)
    return min_p(top_p(logits, decoding.top_p), decoding.min_p)


def draw(logits: Tensor, uniform: Tensor) -> Tensor:
    """The token of each row of ``logits`` ``(B, V)`` at ``uniform`` ``(B,)``, in [0, 1), of its distribution function."""
    cumulated = logits.double().softmax(-1).cumsum(-1)
    cumulated = cumulated / cumulated[:, -1:]  # ends at exactly 1: no token of probability 0 is sampled
    return torch.searchsorted(cumulated, uniform[:, None], right=True)[:, 0]


def uniforms(seed: int, samples: Sequence[int], length: int) -> Tensor:
    """``(len(samples), length)`` numbers in [0, 1): sample ``i``'s depend on ``seed`` and ``i``, and on nothing else."""
    numbers = [np.random.default_rng([seed, i]).random(length) for i in samples]
    return torch.from_numpy(np.array(numbers).reshape(len(numbers), length))


@torch.inference_mode()
def stream(
    model: Model,
    prompt: Tensor,
    decoding: Decoding,
    *,
    bos: int,
    eos: int,
    seed: int = 0,
    samples: Sequence[int] | None = None,
    context: int = 0,
) -> Iterator[list[tuple[int, int]]]:
    """Sample a continuation of each row of ``prompt`` ``(B, P)``, or a target of each source, a token a step.

    Args:
        samples: each row's number, on which its random numbers depend: a sample does not depend on its batch.
        context: of a decoder-only model: tokens it reads at most; then the earlier half of them is forgotten. 0: no limit.

    Yields:
        (row, token) of every row that is not finished; the end is not a token.
    """
    if not len(prompt):
        return
    rows, history = torch.arange(len(prompt)), start_tokens(model, prompt, bos)
    numbers = uniforms(seed, range(len(prompt)) if samples is None else samples, decoding.max_length).to(prompt.device)
    cache = model.start(prompt[:, -context:])
    for step in range(decoding.max_length):
        logits = model.step(history[:, -1:], cache)[:, 0].float()
        newest = draw(adjusted(logits, history, decoding), numbers[rows, step])
        live = (newest != eos).nonzero()[:, 0]
        if not len(live):
            return
        if len(live) < len(newest):
            cache.keep(live)
            cache.reorder(live)
            rows, history, newest = rows[live.cpu()], history[live], newest[live]
        yield list(zip(rows.tolist(), newest.tolist(), strict=True))
        history = torch.cat([history, newest[:, None]], dim=1)
        if context and cache.length >= context:
            cache = model.start(history[:, -(context // 2 + 1) :])


def sample(model: Model, prompt: Tensor, decoding: Decoding, **options: Any) -> list[list[int]]:
    """What ``stream``, which takes the same options, samples for each row of ``prompt``; without prompt, start and end."""
    results: list[list[int]] = [[] for _ in prompt]
    for step in stream(model, prompt, decoding, **options):
        for row, token in step:
            results[row].append(token)
    return results

"""Greedy and beam search with a key-value cache; sentences that are finished leave the batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar

import torch
from torch import Tensor

from stepladder.transformer.blocks.cache import Cache
from stepladder.transformer.blocks.linear import packed
from stepladder.transformer.networks.seq2seq import Seq2Seq

BLOCK = 64  # scores among which `top` looks for the largest first
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Model(Protocol):
    """A model that decodes: ``Seq2Seq`` from a source, ``CausalLM`` from a prompt."""

    def start(self, source: Tensor, beams: int = 1, /) -> Cache:
        """The cache of ``beams`` hypotheses for each row of ``source``, ids (B, S)."""
        ...

    def step(self, tokens: Tensor, cache: Cache, /) -> Tensor:
        """Scores (B, K, V) after the newest ``tokens`` (B, K) of each hypothesis; moves ``cache`` on by one."""
        ...


@dataclass(frozen=True)
class Hypothesis:
    """A translation's tokens, without start and end, and its score (log-probability, after the length penalty)."""

    tokens: list[int]
    score: float


def length_penalty(length: int, alpha: float) -> float:
    """``(5 + length)^alpha / 6^alpha``, by which log-probabilities are divided (Wu et al. 2016, equation 14)."""
    penalty: float = ((5 + length) / 6) ** alpha
    return penalty


def top(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` largest of ``scores`` ``(..., V)`` and where they are, ``(..., k)``, as ``topk``; on a CPU in half its time.

    They lie in the ``k`` blocks whose largest scores are largest, or in the rest after the last full block.
    """
    blocks = scores.shape[-1] // BLOCK
    if scores.device.type != "cpu" or blocks <= 2 * k:
        return scores.topk(k)
    full_blocks = torch.unflatten(scores[..., : blocks * BLOCK], -1, (blocks, BLOCK))
    chosen = full_blocks.amax(-1).topk(k).indices
    candidates = full_blocks.gather(-2, chosen[..., None].expand(*chosen.shape, BLOCK)).flatten(-2)
    values, at = torch.cat([candidates, scores[..., blocks * BLOCK :]], dim=-1).topk(k)
    block, offset = at // BLOCK, (blocks - k) * BLOCK
    inside = chosen.gather(-1, block.clamp(max=k - 1)) * BLOCK + at % BLOCK
    return values, torch.where(block < k, inside, at + offset)


def start_tokens(model: Model, source: Tensor, bos: int) -> Tensor:
    """The tokens ``(B, P)`` that decoding goes on from: ``bos`` where ``source`` is encoded, else ``source`` as a prompt."""
    return source.new_full((len(source), 1), bos) if isinstance(model, Seq2Seq) else source


def _with_packed_weights(search: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """``search`` with the weights of its model, the first argument, in the layout that many steps read fastest."""

    @wraps(search)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        model: Any = args[0]
        with packed(*model.decoder.parameters(), model.output):
            return search(*args, **kwargs)

    return run


@torch.inference_mode()
@_with_packed_weights
def greedy(model: Model, source: Tensor, *, bos: int, eos: int, max_length: int) -> list[list[int]]:
    """The likeliest next token, over and over, for each of ``source`` ``(B, S)``: sentences, or prompts without padding.

    Returns:
        A sentence's new tokens without start and end, at most ``max_length`` of them, in the order of ``source``.
    """
    results: list[list[int]] = [[] for _ in source]
    if not len(source):
        return results
    cache = model.start(source)
    sentences = torch.arange(len(source), device=source.device)
    history = start_tokens(model, source, bos)
    first = history.shape[1]
    for _ in range(max_length):
        newest = top(model.step(history[:, -1:], cache)[:, 0], 1)[1][:, 0]
        live = (newest != eos).nonzero()[:, 0]
        if len(live) < len(newest):
            for row in (newest == eos).nonzero()[:, 0].tolist():
                results[int(sentences[row])] = history[row, first:].tolist()
            if not len(live):
                return results
            cache.keep(live)
            cache.reorder(live)
            sentences, history, newest = sentences[live], history[live], newest[live]
        history = torch.cat([history, newest[:, None]], dim=1)
    for sentence, tokens in zip(sentences.tolist(), history[:, first:].tolist(), strict=True):
        results[sentence] = tokens
    return results


@torch.inference_mode()
@_with_packed_weights
def beam_search(
    model: Model, source: Tensor, *, bos: int, eos: int, beam_size: int, alpha: float, max_length: int
) -> list[list[Hypothesis]]:
    """The best that a beam of ``beam_size`` finds for each of ``source`` ``(B, S)``: sentences, or prompts without padding.

    A sentence is done when it has ``beam_size`` finished hypotheses and its best unfinished one, penalised at its
    present length, is no better than the worst of them; or after ``max_length`` tokens.

    Returns:
        For every sentence, in the order of ``source``, its hypotheses, best first (at least 1, at most ``beam_size``).
    """
    batch, beams, device = len(source), beam_size, source.device
    finished: list[list[Hypothesis]] = [[] for _ in range(batch)]
    if not batch:
        return finished
    cache = model.start(source, beams)
    sentences = list(range(batch))
    scores = torch.full((batch, beams), -torch.inf, device=device)
    scores[:, 0] = 0.0
    history = start_tokens(model, source, bos)[:, None].expand(-1, beams, -1)
    first = history.shape[2]
    for length in range(1, max_length + 1):
        logits = model.step(history[:, :, -1], cache).float()
        values, tokens = top(logits, min(2 * beams, logits.shape[-1]))
        # the largest probability is exp(0) / sum: the logarithm of the sum in one pass over the logits
        log_sums = values[..., :1] - torch.softmax(logits, -1, out=logits).amax(-1, keepdim=True).log()
        candidates = (values - log_sums + scores[:, :, None]).flatten(1)
        best, flat = candidates.topk(min(2 * beams, candidates.shape[1]), dim=1)
        origin, token = flat // values.shape[-1], tokens.flatten(1).gather(1, flat)
        ends = token == eos

        _finish(finished, sentences, history[:, :, first:], best, origin, ends, length_penalty(length, alpha))

        order = ends.int().sort(dim=1, stable=True).indices[:, :beams]
        scores = best.masked_fill(ends, -torch.inf).gather(1, order)
        origin, token = origin.gather(1, order), token.gather(1, order)
        attainable = (scores[:, 0] / length_penalty(length, alpha)).tolist()
        live = [i for i, s in enumerate(sentences) if not _done(finished[s], beams, attainable[i])]
        if not live:
            sentences = []
            break
        rows = torch.tensor(live, device=device)
        if len(live) < len(sentences):
            cache.keep(rows)
            sentences = [sentences[i] for i in live]
            scores, origin, token, history = scores[rows], origin[rows], token[rows], history[rows]
        cache.reorder((rows[:, None] * beams + origin).flatten())
        history = torch.cat([history.gather(1, origin[:, :, None].expand_as(history)), token[:, :, None]], dim=2)
    for row, sentence in enumerate(sentences):
        penalised = (scores[row] / length_penalty(max_length, alpha)).tolist()
        unfinished = zip(history[row, :, first:].tolist(), penalised, strict=True)
        finished[sentence] += [Hypothesis(t, s) for t, s in unfinished if s > -torch.inf]
    return [sorted(hypotheses, key=lambda h: -h.score)[:beams] for hypotheses in finished]


def _finish(
    finished: list[list[Hypothesis]],
    sentences: list[int],
    history: Tensor,
    best: Tensor,
    origin: Tensor,
    ends: Tensor,
    penalty: float,
) -> None:
    """Collect the hypotheses that end now and rank within the beam; keep a sentence's best ``K``."""
    beams = history.shape[1]
    chosen = ends[:, :beams] & (best[:, :beams] > -torch.inf)
    if not chosen.any():
        return
    rows, ranks = chosen.nonzero(as_tuple=True)
    tokens = history[rows, origin[rows, ranks]].tolist()
    for row, words, score in zip(rows.tolist(), tokens, (best[rows, ranks] / penalty).tolist(), strict=True):
        pool = finished[sentences[row]]
        pool.append(Hypothesis(words, score))
        if len(pool) > beams:
            pool.remove(min(pool, key=lambda h: h.score))


def _done(pool: list[Hypothesis], beams: int, attainable: float) -> bool:
    return len(pool) >= beams and attainable <= min(h.score for h in pool)

"""A trained translation model in use: text in, text out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from tokenizers import Tokenizer
from torch import Tensor

from stepladder.errors import UserError
from stepladder.params import Decoding
from stepladder.transformer.blocks.linear import packed
from stepladder.transformer.inference.decoding import Hypothesis, beam_search, greedy
from stepladder.transformer.inference.sampling import sample
from stepladder.transformer.networks.description import TranslationDescription
from stepladder.transformer.networks.seq2seq import Seq2Seq
from stepladder.transformer.networks.trained import SpecialTokens, token_id

T = TypeVar("T")
ROWS_BUDGET = 8192  # source tokens times hypotheses decoded together


def translate(
    model: Seq2Seq,
    tokenizer: Tokenizer,
    description: TranslationDescription,
    sentences: list[str],
    decoding: Decoding,
    language: str | None = None,
    *,
    seed: int = 0,
    first: int = 0,
) -> list[str]:
    """Translations of ``sentences``, in their order; that of a blank sentence is empty.

    Args:
        language: the one to translate to, where the model knows several.
        seed, first: of samples, their seed and the number of the first sentence, on which a sample depends.

    Raises:
        UserError: a sentence is longer than the model was trained for, or the model does not know the language.
    """
    ends = _ends(tokenizer)
    longest = decoding.max_length

    def best(source: Tensor, rows: list[int]) -> list[list[int]]:
        if decoding.method == "sample":
            return sample(model, source, decoding, seed=seed, samples=[first + row for row in rows], **ends)
        if decoding.beam_size == 1:
            return greedy(model, source, max_length=longest, **ends)
        return [hypotheses[0].tokens for hypotheses in _beam(model, source, decoding, ends)]

    beams = decoding.beam_size if decoding.method == "beam" else 1
    token_ids = _in_batches(model, tokenizer, encode(tokenizer, description, sentences, language), beams, best)
    texts = tokenizer.decode_batch(token_ids)
    return [text.strip() if sentence.strip() else "" for sentence, text in zip(sentences, texts, strict=True)]


def answer(
    loaded: tuple[Any, Any, Any], texts: list[str], settings: Mapping[str, Any], options: Mapping[str, Any]
) -> dict[str, list[str]]:
    """Translations of ``texts`` by a model that is ``loaded``, as its ``settings`` and a request's ``options`` say."""
    overrides = {key: value for key, value in options.items() if key != "language"}
    language = options.get("language") or settings.get("language") or None
    decoding = Decoding.model_validate(settings.get("decoding", {}) | overrides)
    return {"translation": translate(*loaded, texts, decoding, language)}


def n_best(
    model: Seq2Seq,
    tokenizer: Tokenizer,
    description: TranslationDescription,
    sentences: list[str],
    decoding: Decoding,
    language: str | None = None,
    *,
    count: int,
) -> list[list[tuple[str, float]]]:
    """The ``count`` best translations of each of ``sentences``, best first, with their scores; of a blank one, none.

    A score is the log-probability, divided by the length penalty. A short sentence may have fewer translations.

    Raises:
        UserError: as ``translate``, or there are fewer hypotheses than ``count``.
    """
    if decoding.method != "beam" or not 1 <= count <= decoding.beam_size:
        raise UserError(
            f"{count} best translations are asked of decoding.method={decoding.method} with beam_size={decoding.beam_size}; a "
            "beam search has 1 to beam_size of them."
        )
    ends = _ends(tokenizer)
    encoded = encode(tokenizer, description, sentences, language)
    hypotheses: list[list[Hypothesis]] = _in_batches(
        model, tokenizer, encoded, decoding.beam_size, lambda source, _: _beam(model, source, decoding, ends)
    )
    return [
        [(tokenizer.decode(h.tokens).strip(), h.score) for h in best[:count]] if sentence.strip() else []
        for sentence, best in zip(sentences, hypotheses, strict=True)
    ]


def encode(
    tokenizer: Tokenizer, description: TranslationDescription, sentences: list[str], language: str | None
) -> list[list[int]]:
    """Source tokens of each sentence, as the model was trained on them: the language's tag, the text, the end."""
    encoded = tokens(tokenizer, description, sentences, language)
    for number, ids in enumerate(encoded, 1):
        if len(ids) > description.max_length:
            raise UserError(f"Sentence {number} has {too_long(len(ids), description)}")
    return encoded


def tokens(
    tokenizer: Tokenizer, description: TranslationDescription, sentences: list[str], language: str | None
) -> list[list[int]]:
    """As ``encode``, but of any length."""
    prefix = _tag(tokenizer, description.target_languages, language)
    eos = SpecialTokens.of(tokenizer).eos
    return [[*prefix, *e.ids, eos] for e in tokenizer.encode_batch(sentences, add_special_tokens=False)]


def too_long(length: int, description: TranslationDescription) -> str:
    """The end of a sentence on a text of ``length`` tokens."""
    return (
        f"{length} tokens; the model translates up to {description.max_length}: split the sentence, or train with a larger "
        "text.max_length."
    )


def pad_rows(rows: list[list[int]], pad: int) -> Tensor:
    """``(len(rows), longest)``, filled up with ``pad``."""
    longest = max(map(len, rows))
    return torch.tensor([row + [pad] * (longest - len(row)) for row in rows])


def _beam(model: Seq2Seq, source: Tensor, decoding: Decoding, ends: dict[str, int]) -> list[list[Hypothesis]]:
    size, alpha, longest = decoding.beam_size, decoding.length_penalty, decoding.max_length
    return beam_search(model, source, beam_size=size, alpha=alpha, max_length=longest, **ends)


def _ends(tokenizer: Tokenizer) -> dict[str, int]:
    special = SpecialTokens.of(tokenizer)
    return {"bos": special.bos, "eos": special.eos}


def _in_batches(
    model: Seq2Seq,
    tokenizer: Tokenizer,
    encoded: list[list[int]],
    beams: int,
    decode: Callable[[Tensor, list[int]], list[T]],
) -> list[T]:
    """What ``decode`` gives for each of ``encoded``, called with a batch ``(B, S)`` of similar lengths and its rows."""
    pad, device = SpecialTokens.of(tokenizer).pad, next(model.parameters()).device
    results: dict[int, T] = {}
    with packed(*model.decoder.parameters(), model.output):
        for rows in _batches([len(ids) for ids in encoded], beams):
            source = pad_rows([encoded[i] for i in rows], pad).to(device)
            results |= zip(rows, decode(source, rows), strict=True)
    return [results[i] for i in range(len(encoded))]


def _tag(tokenizer: Tokenizer, languages: Sequence[str], language: str | None) -> list[int]:
    """The token before the source that says which of several languages is wanted."""
    if language is not None and language not in languages:
        raise UserError(f"The model does not translate to {language}; it knows {', '.join(languages)}.")
    if len(languages) == 1:
        return []
    if language is None:
        raise UserError(f"The model knows several languages; say which of {', '.join(languages)}.")
    return [token_id(tokenizer, f"<2{language}>")]


def _batches(lengths: list[int], beams: int) -> list[list[int]]:
    """Indices in batches of similar lengths, each of at most ``ROWS_BUDGET`` tokens with its hypotheses."""
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not batches or (len(batches[-1]) + 1) * lengths[batches[-1][0]] * beams > ROWS_BUDGET:
            batches.append([])
        batches[-1].append(i)
    return batches

"""A trained translation model in use: text in, text out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from stepladder.errors import UserError
from stepladder.params import Decoding
from stepladder.transformer.attention import CrossAttention, attention
from stepladder.transformer.decoding import beam_search, greedy
from stepladder.transformer.seq2seq import Seq2Seq

EMBEDDINGS = ("source_embedding", "target_embedding", "output")
ROWS_BUDGET = 8192  # source tokens times hypotheses decoded together


@dataclass(frozen=True)
class SpecialTokens:
    """Ids of the tokens that are no text: padding, start and end of a sentence."""

    pad: int
    bos: int
    eos: int

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> SpecialTokens:
        """Those of ``tokenizer``; raises ``UserError`` where it lacks one."""
        return cls(*(_id(tokenizer, name) for name in ("<pad>", "<s>", "</s>")))


def read_tokenizer(file: Path) -> Tokenizer:
    """The tokenizer in ``file``; raises ``UserError`` where there is none."""
    if not file.exists():
        raise UserError(f"There is no tokenizer at {file}; make one with `stepladder prepare text`.")
    return Tokenizer.from_file(str(file))


def load(folder: Path) -> tuple[Seq2Seq, Tokenizer, dict[str, Any]]:
    """The model, tokenizer and configuration that a training left in ``folder``, ready to translate."""
    for name in ("model.safetensors", "config.json"):
        if not (folder / name).exists():
            raise UserError(f"There is no {name} in {folder}; train a model with `stepladder train transformer`.")
    config = json.loads((folder / "config.json").read_text())
    model = Seq2Seq(**config["model"])
    try:
        weights = load_file(folder / "model.safetensors")
        if config["model"]["tie_embeddings"]:  # stored once, under one of its names
            shared = next(weights[name] for name in EMBEDDINGS if name in weights)
            weights |= dict.fromkeys(EMBEDDINGS, shared)
        model.load_state_dict(weights)
    except (SafetensorError, StopIteration, RuntimeError):
        raise UserError(f"The weights in {folder} are damaged, or not those of its config.json; train again.") from None
    return model.eval(), read_tokenizer(folder / "tokenizer.json"), config


def translate(
    model: Seq2Seq,
    tokenizer: Tokenizer,
    config: dict[str, Any],
    sentences: list[str],
    decoding: Decoding,
    language: str | None = None,
) -> list[str]:
    """Translations of ``sentences``, in their order; that of a blank sentence is empty.

    Args:
        language: the one to translate to, where the model knows several.

    Raises:
        UserError: a sentence is longer than the model was trained for, or the model does not know the language.
    """
    encoded = encode(tokenizer, config, sentences, language)
    special, device = SpecialTokens.of(tokenizer), next(model.parameters()).device
    found: list[list[int]] = [[] for _ in encoded]
    for rows in _batches([len(ids) for ids in encoded], decoding.beam_size):
        source = pad_rows([encoded[i] for i in rows], special.pad).to(device)
        if decoding.beam_size == 1:
            best = greedy(model, source, bos=special.bos, eos=special.eos, max_length=decoding.max_length)
        else:
            hypotheses = beam_search(
                model,
                source,
                bos=special.bos,
                eos=special.eos,
                beam_size=decoding.beam_size,
                alpha=decoding.length_penalty,
                max_length=decoding.max_length,
            )
            best = [h[0].tokens for h in hypotheses]
        for i, tokens in zip(rows, best, strict=True):
            found[i] = tokens
    texts = tokenizer.decode_batch(found)
    return [text.strip() if sentence.strip() else "" for sentence, text in zip(sentences, texts, strict=True)]


def encode(tokenizer: Tokenizer, config: dict[str, Any], sentences: list[str], language: str | None) -> list[list[int]]:
    """Source tokens of each sentence, as the model was trained on them: the language's tag, the text, the end."""
    prefix = _tag(tokenizer, config["target_languages"], language)
    eos = SpecialTokens.of(tokenizer).eos
    encoded = [[*prefix, *e.ids, eos] for e in tokenizer.encode_batch(sentences, add_special_tokens=False)]
    for number, ids in enumerate(encoded, 1):
        if len(ids) > config["max_length"]:
            raise UserError(
                f"Sentence {number} has {len(ids)} tokens; the model translates up to {config['max_length']}: "
                "split the sentence, or train with a larger text.max_length."
            )
    return encoded


def pad_rows(rows: list[list[int]], pad: int) -> Tensor:
    """``(len(rows), longest)``, filled up with ``pad``."""
    longest = max(map(len, rows))
    return torch.tensor([row + [pad] * (longest - len(row)) for row in rows])


@torch.inference_mode()
def cross_attention(model: Seq2Seq, source: Tensor, target: Tensor) -> Tensor:
    """What each token of ``target`` ``(T,)`` looked at in ``source`` ``(S,)``: ``(layers, heads, T, S)``."""
    recorded: list[Tensor] = []

    def record(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        output, weights = attention(q, k, v, mask, causal)
        recorded.append(weights[0])
        return output

    modules = [m for m in model.decoder.modules() if isinstance(m, CrossAttention)]
    usual = [m.attend for m in modules]
    try:
        for module in modules:
            module.attend = record
        model(source[None], target[None])
    finally:
        for module, attend in zip(modules, usual, strict=True):
            module.attend = attend
    return torch.stack(recorded)


def _tag(tokenizer: Tokenizer, languages: list[str], language: str | None) -> list[int]:
    """The token before the source that says which of several languages is wanted."""
    if language is not None and language not in languages:
        raise UserError(f"The model does not translate to {language}; it knows {', '.join(languages)}.")
    if len(languages) == 1:
        return []
    if language is None:
        raise UserError(f"The model knows several languages; say which of {', '.join(languages)}.")
    return [_id(tokenizer, f"<2{language}>")]


def _id(tokenizer: Tokenizer, token: str) -> int:
    found = tokenizer.token_to_id(token)
    if found is None:
        raise UserError(f"The tokenizer has no token {token}; make one with `stepladder prepare text`.")
    return int(found)


def _batches(lengths: list[int], beams: int) -> list[list[int]]:
    """Indices in batches of like lengths, each of at most ``ROWS_BUDGET`` tokens with its hypotheses."""
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not batches or (len(batches[-1]) + 1) * lengths[batches[-1][0]] * beams > ROWS_BUDGET:
            batches.append([])
        batches[-1].append(i)
    return batches

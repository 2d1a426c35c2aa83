"""A trained language model's folder: its network, its tokenizer and its configuration."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import nn

from stepladder.errors import UserError
from stepladder.transformer.networks.causal_lm import CausalLM
from stepladder.transformer.networks.classifier import TextClassifier
from stepladder.transformer.networks.masked_lm import MaskedLM
from stepladder.transformer.networks.seq2seq import Seq2Seq

NETWORKS: dict[tuple[str, str], type[nn.Module]] = {
    ("pairs", "encoder_decoder"): Seq2Seq,
    ("lines", "decoder"): CausalLM,
    ("masked_lm", "encoder"): MaskedLM,
    ("labels", "encoder"): TextClassifier,
}
VERBS = {
    ("pairs", "encoder_decoder"): "translate",
    ("lines", "decoder"): "generate",
    ("masked_lm", "encoder"): "attention",
    ("labels", "encoder"): "classify",
}


@dataclass(frozen=True)
class SpecialTokens:
    """Ids of the tokens that are no text: padding, start and end of a sentence."""

    pad: int
    bos: int
    eos: int

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> SpecialTokens:
        """Those of ``tokenizer``; raises ``UserError`` where it lacks one."""
        return cls(*(token_id(tokenizer, name) for name in ("<pad>", "<s>", "</s>")))


def read_tokenizer(file: Path) -> Tokenizer:
    """The tokenizer in ``file``; raises ``UserError`` where there is none."""
    if not file.exists():
        raise UserError(f"There is no tokenizer at {file}; make one with `stepladder prepare text`.")
    return Tokenizer.from_file(str(file))


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """The number of ``token``; raises ``UserError`` where ``tokenizer`` does not have it."""
    found = tokenizer.token_to_id(token)
    if found is None:
        raise UserError(f"The tokenizer has no token {token}; make one with `stepladder prepare text`.")
    return int(found)


def kind(config: dict[str, Any]) -> tuple[str, str]:
    """The task and the architecture of the model that ``config`` describes; sentence pairs where it names none."""
    return config.get("task", "pairs"), config.get("architecture", "encoder_decoder")


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration of the model in ``folder``; raises ``UserError`` where there is none."""
    for name in ("model.safetensors", "config.json"):
        if not (folder / name).exists():
            raise UserError(f"There is no {name} in {folder}; train a model with `stepladder train transformer`.")
    return dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))


def load(folder: Path, task: str = "", architecture: str = "") -> tuple[Any, Tokenizer, dict[str, Any]]:
    """The model, tokenizer and configuration that a training left in ``folder``, ready to use.

    Args:
        task, architecture: what the model is wanted for; empty: anything.

    Raises:
        UserError: the folder is incomplete or damaged, or the model is for something else.
    """
    config = read_config(folder)
    found = kind(config)
    if found not in NETWORKS or (task or found[0], architecture or found[1]) != found:
        wanted = [f"text.task={task}"] * bool(task) + [f"transformer.architecture={architecture}"] * bool(architecture)
        raise UserError(
            f"{folder} holds a model of text.task={found[0]} and transformer.architecture={found[1]} where "
            f"{' and '.join(wanted) or 'a language model'} is needed; `stepladder {VERBS.get(found, 'sample')}` uses it."
        )
    model = NETWORKS[found](**config["model"])
    try:
        weights, own = load_file(folder / "model.safetensors"), dict(model.named_parameters(remove_duplicate=False))
        shared = {id(own[name]): weight for name, weight in weights.items() if name in own}  # stored under one name
        model.load_state_dict(weights | {n: shared[id(p)] for n, p in own.items() if id(p) in shared})
    except (SafetensorError, RuntimeError):
        raise UserError(f"The weights in {folder} are damaged, or not those of its config.json; train again.") from None
    return model.eval(), read_tokenizer(folder / "tokenizer.json"), config

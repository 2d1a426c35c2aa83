"""A trained language model's folder: its network, its tokenizer and its description."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tokenizers import Tokenizer
from torch import nn

from stepladder import loading
from stepladder.errors import UserError
from stepladder.text_tasks.tasks import TASKS
from stepladder.transformer.networks.description import TextDescription, every

D = TypeVar("D", bound=TextDescription)


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
    number = tokenizer.token_to_id(token)
    if number is None:
        raise UserError(f"The tokenizer has no token {token}; make one with `stepladder prepare text`.")
    return int(number)


def kind(description: TextDescription) -> tuple[str, str]:
    """Task and architecture of a model; for the code that older registered models bring along."""
    return description.task, description.architecture


def load(folder: Path, *records: type[D]) -> tuple[Any, Tokenizer, D]:
    """The network, tokenizer and description of the model in ``folder``, ready to use.

    Args:
        records: the kinds of model that are accepted, such as ``TranslationDescription``; none: any kind.

    Raises:
        UserError: the folder is incomplete or damaged, or the model is of another kind.
    """
    wanted: Any = records or every()
    network, description = loading.load(folder, _network, *wanted)
    return network, read_tokenizer(folder / "tokenizer.json"), description


def _network(description: TextDescription) -> nn.Module:
    network: nn.Module = TASKS[description.task].model.network(**description.model.model_dump())
    return network

"""Which text to use, and how to prepare it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from stepladder.params.data import NAME, UNNAMED, OnBadRow
from stepladder.params.section import Section
from stepladder.text_tasks.tasks import FORMS

if TYPE_CHECKING:
    Form = str
else:
    Form = Literal[tuple(FORMS)]


class TextData(Section):
    """Text for language models: sentence pairs, running text, or texts with a class."""

    task: Form = Field("pairs", description="; ".join(f"{name}: {form.says}" for name, form in FORMS.items()))
    source: str = Field(
        "names",
        min_length=1,
        description="names (ISO names, in a package), a Hugging Face data set name, a file (.tsv, .jsonl; lines: any text), or none: no "
        "text, and no language model",
    )
    name: str = Field("", pattern=NAME, description=f"of the data, its runs and its registered models; {UNNAMED}")
    config: str = Field("", description="configuration of the hub data set; empty: its default")
    revision: str = Field(
        "", description="commit, branch or tag of the hub data set; empty: the newest when it is prepared"
    )
    source_language: str = Field("en", min_length=1, description="language, or column, translated from")
    target_languages: tuple[str, ...] = Field(
        ("uk",), min_length=1, description="languages, or columns, translated to; several: told apart by a tag"
    )
    text_column: str = Field("text", min_length=1, description="of lines and labels: column of the text")
    label_column: str = Field("label", min_length=1, description="of labels: column of the class")
    limit: int = Field(15000, ge=0, description="at most so many pairs, lines or labelled texts; 0: all")
    tokenizer: Literal["bpe", "unigram", "char"] = Field("bpe", description="sub-word model, joint of both sides")
    vocab_size: int = Field(600, ge=64, le=64000, description="entries of the joint vocabulary")
    max_length: int = Field(128, ge=8, le=4096, description="longest sentence in tokens; longer rows are bad rows")
    held_out: float = Field(
        0.1, gt=0, lt=0.5, description="share for test, and again for validation, where the source has none"
    )
    on_bad_row: OnBadRow = Field(
        "set-aside", description="a bad row stops the preparation, or is set aside and counted"
    )

    @model_validator(mode="after")
    def _columns_differ(self) -> TextData:
        named = [self.source_language, *self.target_languages]
        if len(set(named)) != len(named) or "" in named:
            raise ValueError(
                f"text.source_language={self.source_language} and text.target_languages={list(self.target_languages)} name "
                "a language twice, or none; name different ones"
            )
        if self.text_column == self.label_column:
            raise ValueError(
                f"text.text_column and text.label_column are both {self.text_column}; name two different columns"
            )
        return self

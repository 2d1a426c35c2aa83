"""Which data, and what becomes of it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from stepladder.params.section import Section

OnBadRow = Literal["refuse", "set-aside"]


class ImageData(Section):
    """Pictures for diffusion and the feature network."""

    source: str = Field(
        "digits",
        min_length=1,
        description="digits (in a package), a Hugging Face data set name, or a folder of pictures (one subfolder a class)",
    )
    config: str = Field("", description="configuration of the hub data set; empty: its default")
    image_column: str = Field("", description="column of the pictures; empty: the only picture column")
    label_column: str = Field("", description="column of the classes; empty: the only class column, or none")
    text_column: str = Field("", description="column of a text to each picture; empty: none")
    text_vocab_size: int = Field(1000, ge=64, le=64000, description="entries of the texts' vocabulary (joint BPE)")
    text_length: int = Field(32, ge=4, le=512, description="longest text in tokens; longer ones are cut")
    size: int = Field(
        0, ge=0, le=1024, description="side in pixels to which pictures are brought; 0: as they are, all alike"
    )
    channels: Literal[0, 1, 3, 4] = Field(0, description="1 grey, 3 RGB, 4 RGBA; 0: as they are")
    held_out: float = Field(0.2, gt=0, lt=1, description="share held out where the source has no test split")
    limit: int = Field(0, ge=0, description="at most so many training pictures; 0: all")
    on_bad_row: OnBadRow = Field("refuse", description="a bad row stops the preparation, or is set aside and counted")


class TextData(Section):
    """Sentence pairs for translation."""

    source: str = Field(
        "names",
        min_length=1,
        description="names (ISO names, in a package), a Hugging Face data set name, or a file of pairs (.tsv, .jsonl)",
    )
    config: str = Field("", description="configuration of the hub data set; empty: its default")
    source_language: str = Field("en", min_length=1, description="language, or column, translated from")
    target_languages: tuple[str, ...] = Field(
        ("uk",), min_length=1, description="languages, or columns, translated to; several: told apart by a tag"
    )
    limit: int = Field(15000, ge=0, description="at most so many pairs; 0: all")
    tokenizer: Literal["bpe", "unigram", "char"] = Field("bpe", description="joint sub-word model of both sides")
    vocab_size: int = Field(600, ge=64, le=64000, description="entries of the joint vocabulary")
    max_length: int = Field(128, ge=8, le=4096, description="longest sentence in tokens; longer rows are bad rows")
    held_out: float = Field(
        0.1, gt=0, lt=0.5, description="share for test, and again for validation, where the source has none"
    )
    on_bad_row: OnBadRow = Field(
        "set-aside", description="a bad row stops the preparation, or is set aside and counted"
    )

    @model_validator(mode="after")
    def _languages_differ(self) -> TextData:
        named = [self.source_language, *self.target_languages]
        if len(set(named)) != len(named) or "" in named:
            raise ValueError(
                f"text.source_language={self.source_language} and text.target_languages={list(self.target_languages)} name "
                "a language twice, or none; name different ones"
            )
        return self

"""Which pictures to use, and how to prepare them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from stepladder import plugins
from stepladder.params.section import Section

NONE = "none"
"""The source that leaves pictures, or text, out."""
OnBadRow = Literal["refuse", "set-aside"]
NAME = r"^([A-Za-z0-9][A-Za-z0-9_.-]{0,99})?$"  # what MLflow accepts in names and addresses
UNNAMED = "empty: the source's own (of a folder or file its last part)"


def _check_custom_source(name: str, function: Any) -> Any:
    """Check a custom source's signature; the pictures that it returns are checked when they are read."""
    plugins.check_signature(function, "images")
    return function


SOURCE = plugins.Kind(
    "images.source",
    "a function of the section images of the parameters that gives a PictureSource of stepladder.data.preparing.pictures",
    _check_custom_source,
)


class ImageData(Section):
    """Pictures for diffusion and the feature network."""

    source: Annotated[str, SOURCE] = Field(
        "digits",
        min_length=1,
        description="digits (in a package), a Hugging Face data set name, a folder of pictures (one subfolder a class), your own function as "
        "module:name, or none: no pictures, and no model of pictures",
    )
    name: str = Field("", pattern=NAME, description=f"of the data, its runs and its registered models; {UNNAMED}")
    config: str = Field("", description="configuration of the hub data set; empty: its default")
    revision: str = Field(
        "", description="commit, branch or tag of the hub data set; empty: the newest when it is prepared"
    )
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

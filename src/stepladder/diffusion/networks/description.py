"""The description of a diffusion model, adapted or not: its process, its network, and its classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Union

from pydantic import Discriminator, Tag, TypeAdapter, create_model

from stepladder import plugins
from stepladder.description import Count, Data, Depth, Description, Name, Number, Record, Shape
from stepladder.diffusion.processes.settings import ProcessDescription
from stepladder.params.backbones import BACKBONES, Backbone
from stepladder.params.classifier import PROCESS


class TextEncoderNetwork(Record):
    """Arguments of ``text_encoder.TextEncoder``."""

    d_model: Count
    depth: Depth
    heads: Count
    dropout: float


class Network(Record):
    """Arguments that all denoising networks have; by itself the record of a custom network, ``module:name``.

    Attributes:
        shape: (C, H, W) of a picture.
        outputs: channels of the output; None: C.
    """

    backbone: str = "own"
    shape: Shape
    classes: Number = 0
    outputs: Count | None = None
    vocabulary: Number = 0
    text_length: Number = 0
    text_encoder: TextEncoderNetwork | None = None
    low_resolution: Number = 0

    def arguments(self) -> dict[str, Any]:
        """The arguments of the network's class."""
        return self.model_dump(exclude={"backbone"})


def _record(name: str, section: type[Backbone]) -> type[Network]:
    """The record type of a network ``name``: all its arguments are required but those that older folders lack."""
    arguments: dict[str, Any] = {}
    for key, field in section.model_fields.items():
        kind: Any = field.annotation
        for bound in field.metadata:
            kind = Annotated[kind, bound]
        arguments[key] = (kind, section.ABSENT.get(key, ...))
    named: Any = Literal[name]
    return create_model(
        f"{section.__name__}Network", __base__=Network, backbone=(named, name), classes=(Number, ...), **arguments
    )


NETWORKS = {name: _record(name, section) for name, section in BACKBONES.items()}


def _backbone(network: Any) -> str:
    name = network.get("backbone", "unet") if isinstance(network, dict) else getattr(network, "backbone", "unet")
    return "own" if plugins.is_custom(name) else str(name)


if TYPE_CHECKING:
    AnyNetwork = Network
else:
    AnyNetwork = Annotated[
        Union[tuple(Annotated[record, Tag(name)] for name, record in ({"own": Network} | NETWORKS).items())],  # noqa: UP007
        Discriminator(
            _backbone,
            custom_error_type="backbone",
            custom_error_message=f"there are the backbones {' and '.join(NETWORKS)}",
        ),
    ]
NETWORK: TypeAdapter[Network] = TypeAdapter(AnyNetwork)


def described(network: dict[str, Any]) -> Network:
    """The record of a backbone whose arguments, by name, are ``network``."""
    return NETWORK.validate_python(network)


class Adapted(Record):
    """How a model was adapted: ``rank`` and ``layers`` are LoRA's; ``data`` is what the model before learned from."""

    method: Literal["lora", "full"]
    rank: Count | None = None
    layers: str | None = None
    new_classes: tuple[Name, ...]
    data: Data = Data()


class DiffusionDescription(Description, ProcessDescription):
    """A diffusion model.

    Attributes:
        variance: of the reverse steps: fixed when sampling, or learned between its two bounds.
        classes: names of the classes that it knows, in the order of their numbers.
        label_dropout: share of the training pictures whose class and text were hidden.
    """

    kind: ClassVar[str] = "diffusion"
    family: Literal["diffusion"] = "diffusion"
    model: AnyNetwork
    prediction: Literal["eps", "x0", "v"]
    variance: Literal["fixed", "learned_range"] = "fixed"
    timesteps: Count
    classes: tuple[Name, ...]
    label_dropout: float
    adapted: Adapted | None = None

    @property
    def new_classes(self) -> tuple[str, ...]:
        """The classes that it learned when it was adapted."""
        return self.adapted.new_classes if self.adapted else ()


def guided(description: DiffusionDescription) -> dict[str, Any]:
    """What a noisy classifier has to share with the model of ``description``, see ``fitting.read_guide``."""
    shared = {key: getattr(description, key) for key in PROCESS}
    return {"classes": description.classes, "shape": description.model.shape} | shared

"""The served page: draw pictures at different S side by side, and translate sentences. ``app`` is plain FastAPI."""

from __future__ import annotations

import base64
import io
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.middleware.trustedhost import TrustedHostMiddleware

from stepladder import plugins
from stepladder.data.grid import single
from stepladder.diffusion.samplers.samplers import SAMPLER, SAMPLERS
from stepladder.errors import UserError
from stepladder.params import Sampling
from stepladder.serving.models import Painter, Translator

PAGE = Path(__file__).with_name("page.html")
LONGEST = 2000  # characters of a sentence, or of a text for a picture
SECURITY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)

if TYPE_CHECKING:
    SamplerName = str
else:
    SamplerName = Annotated[Literal[tuple(SAMPLERS)], plugins.AcceptsCustomCode()]


class ModelRequest(BaseModel):
    """A request to a served model."""

    model_config = ConfigDict(extra="forbid")
    model: str = Field(description="name of a served model")


class Drawing(ModelRequest):
    """A request for pictures: one for each label, all from the noise of ``seed``."""

    labels: list[Annotated[str, Field(max_length=LONGEST)]] = Field(min_length=1, max_length=64)
    text: str = Field("", max_length=LONGEST)
    steps: int = Field(ge=1, le=100_000)
    guidance_scale: float | None = Field(None, ge=0, le=100)
    sampler: SamplerName | None = None
    seed: int = Field(0, ge=0, lt=2**31)


class Translation(ModelRequest):
    """A request for translations of sentences."""

    sentences: list[Annotated[str, Field(max_length=LONGEST)]] = Field(min_length=1, max_length=100)
    beam_size: int | None = Field(None, ge=1, le=64)
    language: str | None = None


def app(models: Mapping[str, Painter | Translator], figures: Mapping[str, str], hosts: list[str]) -> FastAPI:
    """The page and its interface for ``models``, by the names that the page shows.

    Args:
        figures: the page's text about each model, by the same names.
        hosts: allowed host names of requests; others, such as those of a foreign page, are refused.
    """
    served = FastAPI(title="Stepladder", openapi_url=None)
    served.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)
    turn = threading.Lock()  # one at a time: each uses all threads
    page = PAGE.read_text(encoding="utf-8")

    @served.exception_handler(RequestValidationError)
    async def not_valid(_: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"error": "; ".join(_sentence(e) for e in error.errors()) + "."}, 422)

    @served.exception_handler(UserError)
    async def refused(_: Request, error: UserError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 400)

    @served.get("/")
    def index() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": SECURITY, "X-Content-Type-Options": "nosniff"})

    @served.get("/models")
    def listed() -> dict[str, list[dict[str, object]]]:
        painters = [_painter(name, m, figures) for name, m in models.items() if isinstance(m, Painter)]
        translators = [_translator(name, m, figures) for name, m in models.items() if isinstance(m, Translator)]
        return {"painters": painters, "translators": translators}

    @served.post("/draw")
    def draw(body: Drawing) -> dict[str, list[str] | float]:
        painter = _chosen(models, body.model, Painter)
        plugins.from_outside({SAMPLER.key: body.sampler}, {SAMPLER.key: painter.sampling().sampler})
        sampling: Sampling = painter.sampling(guidance_scale=body.guidance_scale, sampler=body.sampler)
        with turn:
            start = time.perf_counter()
            pictures = painter.draw(body.labels, [body.text] * len(body.labels), body.steps, sampling, body.seed)
            seconds = time.perf_counter() - start
        return {"pictures": [_data_uri(single(picture)) for picture in pictures], "seconds": seconds}

    @served.post("/translate")
    def translate(body: Translation) -> dict[str, list[str] | float]:
        translator = _chosen(models, body.model, Translator)
        decoding = translator.decoding(beam_size=body.beam_size)
        with turn:
            start = time.perf_counter()
            translations = translator.translate([s.strip() for s in body.sentences], decoding, body.language)
            seconds = time.perf_counter() - start
        return {"translations": translations, "seconds": seconds}

    return served


def _painter(name: str, painter: Painter, figures: Mapping[str, str]) -> dict[str, object]:
    shape, defaults = painter.description.model.shape, painter.sampling()
    return {
        "name": name,
        "said": figures.get(name, ""),
        "classes": painter.classes,
        "texts": painter.tokenizer is not None,
        "free": painter.description.label_dropout > 0 or not painter.classes,
        "timesteps": painter.description.timesteps,
        "steps": painter.steps,
        "guidance_scale": defaults.guidance_scale,
        "sampler": defaults.sampler,
        "samplers": list(dict.fromkeys([*SAMPLERS, defaults.sampler])),
        "side": max(shape[1:]),
    }


def _translator(name: str, translator: Translator, figures: Mapping[str, str]) -> dict[str, object]:
    description = translator.description
    return {
        "name": name,
        "said": figures.get(name, ""),
        "source": description.source_language,
        "languages": description.target_languages,
        "beam_size": translator.decoding().beam_size,
    }


def _chosen(models: Mapping[str, Any], name: str, kind: type[Any]) -> Any:
    if not isinstance(chosen := models.get(name), kind):
        known = ", ".join(n for n, model in models.items() if isinstance(model, kind)) or "none"
        raise UserError(f"There is no such model here: {name}; there are: {known}.")
    return chosen


def _data_uri(image: Any) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _sentence(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"] if part != "body") or "the request"
    value = error.get("input")
    received = f" (given: {value!r})" if isinstance(value, (str, int, float)) and len(str(value)) < 80 else ""
    return f"{where}: {error['msg'][0].lower()}{error['msg'][1:]}{received}"

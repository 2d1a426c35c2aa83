"""``stepladder serve``: chooses the page's models and runs the server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from stepladder.errors import UserError
from stepladder.serving.models import Painter, Translator, load
from stepladder.tracking import figures, health, references, store

FOLDERS = ("diffusion/T*", "transformer")
BACKLOG = 2048  # uvicorn's default


def serve(names: Sequence[str], models: Path, host: str, port: int, log: Callable[[str], None] = print) -> None:
    """Serve the page with the models ``names`` until it is ended.

    Args:
        names: folders, or ``models:/NAME@ALIAS``; none: every registered champion, else the models in ``models``.
        host: address that it listens on.
        port: 0: any that is free.

    Raises:
        UserError: there is no model, or one of ``names`` cannot be served, or the address is taken.
    """
    import socket

    import uvicorn

    from stepladder.serving.app import app

    loaded = {name: load(name) for name in names} or _default_models(models, log)
    if not loaded:
        raise UserError(
            f"There is no model to serve, in the registry or in {models}; `dvc repro` makes some, or name one."
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(BACKLOG)  # before the address is printed: an immediate request then waits
    except OSError as error:
        listening.close()
        raise UserError(f"{host}:{port} cannot be listened on ({error.strerror}); name another with --port.") from None
    address = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
    log(f"{', '.join(loaded)}\n{address}   (Ctrl-C ends it)")
    page = app(loaded, {name: _caption(name) for name in loaded}, _hosts(host))
    uvicorn.Server(uvicorn.Config(page, log_level="warning", access_log=False)).run(sockets=[listening])


def _default_models(models: Path, log: Callable[[str], None]) -> dict[str, Painter | Translator]:
    """Every champion, else every model in ``models``; models that cannot be served are named and skipped."""
    loaded: dict[str, Painter | Translator] = {}
    folders = [str(folder) for pattern in FOLDERS for folder in sorted(models.glob(pattern))]
    for name in _champions() or folders:
        try:
            loaded[name] = load(name)
        except UserError as error:
            log(f"{name} is not served: {error}")
    return loaded


def _champions() -> list[str]:
    if not store.uri():
        return []
    with store.answering():
        registered = health.registry().search_registered_models()
    return [
        f"models:/{model.name}@{references.CHAMPION}" for model in registered if references.CHAMPION in model.aliases
    ]


def _caption(name: str) -> str:
    """The page's text about a model: for a registered one its version and its figure."""
    if Path(name).is_dir():
        return name
    with store.answering():
        client = health.registry()
        model, number = references.version(client, name)
        tags = client.get_model_version(model, number).tags
        return f"{model} version {number}" + (f": {figures.text(tags)}" if figures.FIGURE in tags else "")


def _hosts(host: str) -> list[str]:
    """Allowed host names of requests; any, unless the server listens to this machine only."""
    return ["127.0.0.1", "localhost"] if host == "localhost" or host.startswith("127.") else ["*"]

"""Hugging Face data sets by name: from the hub, or from a folder of downloaded data set repositories."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from stepladder.errors import UserError

MIRROR = "STEPLADDER_MIRROR"
SECONDS = 10.0  # for the hub's first answer


def load(name: str, config: str = "", revision: str = "") -> Any:
    """The splits of data set ``name``, of the hub's at ``revision`` (empty: the newest), as a ``datasets.DatasetDict``.

    Where the environment's ``STEPLADDER_MIRROR`` names a folder, ``owner/name`` is looked up there as ``owner/name``, then
    as ``name``, and no network is used; where it does not, on the hub.

    Raises:
        UserError: there is no such data set or configuration, or neither mirror nor hub can be read.
    """
    folder = mirrored(name)
    _quiet()
    pinned = commit(name, revision) if folder is None else ""
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    try:
        return datasets.load_dataset(str(folder or name), config or None, revision=pinned or revision or None)
    except Exception as error:
        described = f"{name} (configuration {config})" if config else name
        where = f"{MIRROR}={os.environ[MIRROR]}" if folder else "the hub"
        raise UserError(f"Data set {described} cannot be read from {where}: {_reason(error)}.") from None


def licence(name: str) -> str:
    """The licence that the data set's own card states; ``"not stated"`` by it, or ``"not known"`` where it cannot be read."""
    folder = mirrored(name)
    if folder and not (folder / "README.md").is_file():
        return "not stated"
    _quiet()
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError

    try:
        card = huggingface_hub.DatasetCard.load(folder / "README.md" if folder else name)
    except EntryNotFoundError:
        return "not stated"
    except Exception:
        return "not known"
    stated = card.data.to_dict().get("license") or "not stated"
    return stated if isinstance(stated, str) else ", ".join(map(str, stated))


def note(name: str) -> str:
    """What a downloaded data set's ``jpeg_rows.json`` says of its rows, for readers of results made from them; "" without.

    The file names row numbers by split, ``{"train": [...], "test": [...]}``: rows that went through a JPEG copy, which an exact
    measure of pixels or likelihood may tell from the others.
    """
    folder = mirrored(name)
    if folder is None or not (folder / "jpeg_rows.json").is_file():
        return ""
    rows_by_split = json.loads((folder / "jpeg_rows.json").read_text(encoding="utf-8"))
    counts = [f"{len(rows)} {split}" for split, rows in rows_by_split.items() if isinstance(rows, list) and rows]
    return f"{' and '.join(counts)} rows of the source come from JPEG copies, all others are lossless" if counts else ""


def mirrored(name: str) -> Path | None:
    """The folder of data set ``name`` in the mirror; None where the environment names none; ``UserError`` where it lacks it."""
    if name.startswith((".", "~", "/")) or name.count("/") > 1:
        raise UserError(f"There is no file or folder {name}.")
    mirror = os.environ.get(MIRROR)
    if not mirror:
        return None
    if not Path(mirror).is_dir():
        raise UserError(f"{MIRROR}={mirror} is not a folder; name one that holds data set repositories, or unset it.")
    for candidate in (Path(mirror) / name, Path(mirror) / name.split("/")[-1]):
        if candidate.is_dir():
            return candidate
    available = ", ".join(sorted(entry for entry in os.listdir(mirror) if Path(mirror, entry).is_dir()))
    raise UserError(f"Data set {name} is not in {MIRROR}={mirror}, which has: {available or 'nothing'}.")


def commit(name: str, revision: str = "", seconds: float = SECONDS) -> str:
    """The commit of ``revision`` (empty: the newest) of data set ``name`` on the hub; "" where the hub may not be asked.

    The hub is asked once: ``datasets`` itself tries again and again for half a minute.

    Raises:
        UserError: the hub cannot be reached within ``seconds``, or has no such set or revision.
    """
    if os.environ.get("HF_HUB_OFFLINE", "0").lower() in ("1", "true", "yes", "on"):
        return ""
    _quiet()
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        info = huggingface_hub.HfApi().dataset_info(name, revision=revision or None, timeout=seconds)
    except RevisionNotFoundError:
        raise UserError(
            f"Data set {name} has no revision {revision}; give a commit, a branch or a tag of it."
        ) from None
    except (RepositoryNotFoundError, HFValidationError):
        raise UserError(
            f"There is no file, folder or public hub data set {name!r}; give its full name, such as "
            "zalando-datasets/fashion_mnist (for a private one set HF_TOKEN)."
        ) from None
    except Exception as error:
        raise UserError(
            f"The hub cannot be reached for data set {name} ({_reason(error)}); without a network, name a folder of "
            f"downloaded data set repositories in {MIRROR}, or set HF_HUB_OFFLINE=1 to use what was downloaded before."
        ) from None
    return str(info.sha or "")


def _quiet() -> None:
    for variable in (
        "HF_HUB_DISABLE_TELEMETRY",
        "HF_HUB_DISABLE_PROGRESS_BARS",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN_WARNING",
    ):
        os.environ.setdefault(variable, "1")


def _reason(error: BaseException) -> str:
    """The innermost cause in one line: ``datasets`` wraps what went wrong in generalities."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return (lines[0][:300] if lines else type(error).__name__).rstrip(". ")

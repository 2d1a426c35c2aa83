"""What the name of a registered model means, the same for every verb.

``models:/NAME/VERSION``, ``models:/NAME@ALIAS`` or NAME, each also without ``models:/``. An existing name or alias
is taken as it is; otherwise the only one that begins with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from stepladder.errors import UserError

CHAMPION, CHALLENGER = "champion", "challenger"
SCHEME = "models:/"
PATTERN = re.compile(r"(?:models:/)?([^/@:]+)(?:/(\d+|latest)|@([^/@]+))?")
FORMS = "models:/NAME/VERSION or models:/NAME@ALIAS"


def registered_name(family: str, data: str) -> str:
    """The name under which models of ``family``, trained on the data named ``data``, are registered."""
    return re.sub(r"[^a-z0-9_.-]+", "-", f"{family}-{data}".lower())


def readable(reference: str) -> bool:
    """Whether ``reference`` has a form that names a registered model."""
    return PATTERN.fullmatch(reference) is not None


def name(client: Any, reference: str) -> str:
    """The registered name that ``reference`` means; raises ``UserError`` where there is none, or several begin with it."""
    return str(model(client, reference).name)


def model(client: Any, reference: str) -> Any:
    """MLflow's ``RegisteredModel`` that ``reference`` means.

    Raises:
        UserError: it does not have such a form, the registry has no such model, or several begin with it.
    """
    from mlflow.exceptions import MlflowException

    prefix = _parts(reference)[0]
    try:
        return client.get_registered_model(prefix)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
    known = names(client)
    matches = [each for each in known if each.startswith(prefix)]
    if len(matches) > 1:
        raise UserError(f"{prefix} may be any of {', '.join(matches)}; give more of the name.")
    if not matches:
        raise UserError(f"{prefix} is not in the registry; it has the models: {', '.join(known) or 'none'}.")
    return client.get_registered_model(matches[0])


def names(client: Any) -> list[str]:
    """All registered models, sorted."""
    registered, page = [], None
    while True:
        models = client.search_registered_models(page_token=page)
        registered += [str(each.name) for each in models]
        if not (page := models.token):
            return sorted(registered)


def versions(client: Any, name: str) -> list[str]:
    """Numbers of the versions of the model ``name``, ascending."""
    return sorted((str(each.version) for each in client.search_model_versions(f"name = '{name}'")), key=int)


def version(client: Any, reference: str, default_alias: str = CHAMPION) -> tuple[str, str]:
    """(name, version) that ``reference`` means; a name alone means the version of the alias ``default_alias``.

    Raises:
        UserError: as ``model``, or there is no such version or alias.
    """
    entry = model(client, reference)
    _, number, alias = _parts(reference)
    known = versions(client, entry.name)
    if number == "latest" and known:
        number = known[-1]
    elif not number:
        number = str(entry.aliases.get(_completed(alias or default_alias, entry.aliases), ""))
    if number not in known:
        listed = ", ".join([*known, *(f"@{each}" for each in sorted(entry.aliases))])
        raise UserError(f"{reference} is not in the registry; of {entry.name} it has: {listed or 'no version'}.")
    return str(entry.name), number


def _parts(reference: str) -> tuple[str, str, str]:
    match = PATTERN.fullmatch(reference)
    if not match:
        raise UserError(f"{reference} names no version of a model; give {FORMS}.")
    name, number, alias = match.groups()
    return name, number or "", alias or ""


def _completed(prefix: str, known: Iterable[str]) -> str:
    """``prefix`` where it is among ``known``, else the only one that begins with it, ignoring case; else ``prefix``."""
    if prefix in known:
        return prefix
    matches = [each for each in known if each.lower().startswith(prefix.lower())]
    return matches[0] if len(matches) == 1 else prefix

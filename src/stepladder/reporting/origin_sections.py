"""The page's sections on where the results come from: data, code, parameters, runs, registered models."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stepladder import history
from stepladder.metrics.numbers import short
from stepladder.params import Params, flatten
from stepladder.params.data import NONE
from stepladder.reporting.links import mlflow_address, run_address, version_address
from stepladder.reporting.markup import Content, Markup, element, join, table
from stepladder.reporting.reading import curves
from stepladder.reporting.rows import Comparison

Card = Mapping[str, Any]


def title(images: Card, text: Card, params: Params) -> str:
    """``"digits, and names en → uk"``."""
    languages = text.get("languages")
    direction = f" {languages['source']} → {', '.join(languages['targets'])}" if languages else ""
    pictures = images.get("name") or _last(params.images.source)
    names = {
        pictures: params.images.source,
        f"{text.get('name') or _last(params.text.source)}{direction}": params.text.source,
    }
    return ", and ".join(name for name, source in names.items() if source != NONE)


def facts(images: Card, text: Card, params: Params, models: Path) -> Markup:
    """What was run: data, code, when and on what."""
    headers, times = [], []
    for _, folder, _ in curves(params, models):
        headers.append(history.header(models / folder))
        times += history.times(models / folder)
    rows: list[tuple[str, Content]] = [
        ("Pictures", _images(images) if images else _without_card(params.images.source)),
        ("Text", _text(text) if text else _without_card(params.text.source)),
        ("Code", _code(headers)),
    ]
    if times:
        rows.append(("Trained", f"{_moment(min(times))} to {_moment(max(times))} UTC"))
    devices = _distinct(_device(h) for h in headers)
    if devices:
        rows.append(("On", ", ".join(devices)))
    rows.append(("Seed", str(params.seed)))
    return element("dl", [[element("dt", name), element("dd", value)] for name, value in rows], class_="facts")


def _without_card(source: str) -> str:
    return "none" if source == NONE else f"{source} (its card is not there)"


def parameters(params: Params) -> Markup:
    """Every parameter, those that differ from their defaults in bold."""
    defaults, rows = flatten(Params()), []
    for key, value in flatten(params).items():
        text: Content = element("code", json.dumps(value, ensure_ascii=False))
        changed = value != defaults[key]
        rows.append([element("code", key), element("b", text, " (changed)") if changed else text])
    count = sum(value != defaults[key] for key, value in flatten(params).items())
    summary = f"All {len(rows)} parameters, {count} of them changed from their defaults"
    return element("details", element("summary", summary), table(["key", "value"], rows))


def runs(comparison: Comparison) -> Markup:
    """A paragraph with links to the history of these models in MLflow."""
    tracked = [
        row for row in (*comparison["training"], comparison["translation_training"]) if row and row.get("run_id")
    ]
    if not tracked:
        return element("p", "These trainings were not tracked; `stepladder sync` sends their journals to MLflow.")
    address, local = mlflow_address(tracked[0])
    parents = _distinct(parent for row in tracked if (parent := row.get("parent_run_id")))
    parts: list[Content] = [
        "Every curve and picture of these runs is in MLflow at ",
        element("a", address, href=address),
    ]
    parts.append([" (", element("code", "make ui"), " starts it)"] if local else None)
    for i, parent in enumerate(parents):
        address = str(run_address({**tracked[0], "run_id": parent}))
        parts += [", " if i else ". Parent runs: ", element("a", parent[:8], href=address, class_="mono")]
    return element("p", parts, ".")


def registered(reports: Path) -> Markup:
    """The registered models and their aliases."""
    entries: Sequence[Mapping[str, Any]] = history.read(reports / "registered.json").get("models", [])
    models = [model for model in entries if "version" in model]
    if not models:
        return element("p", "No model is registered; `stepladder register` registers the best.")
    rows = []
    for model in models:
        name, version = str(model["name"]), str(model["version"])
        figure = model.get("figure") or {}
        run = run_address(model)
        rows.append([
            element("td", element("a", name, href=version_address(name, version)), class_="nowrap"),
            element("td", version, class_="number"),
            element("td", [element("span", f"@{alias}", class_="chip") for alias in model.get("aliases", [])], class_="nowrap"),
            element("td", f"{figure['name']} {short(figure['value'])}" if figure else "", class_="nowrap"),
            str(model.get("why", "")),
            element("a", str(model["run_id"])[:8], href=run, class_="mono") if run else "",
        ])  # fmt: skip
    number_head = element("th", "version", class_="number", scope="col")
    use = next((m for m in models if "champion" in m.get("aliases", [])), None)
    loaded = f'mlflow.pyfunc.load_model("models:/{use["name"]}@champion")' if use else None
    return join([
        table(["model", number_head, "aliases", "figure", "why", "run"], rows, class_="wide"),
        element("p", "Load one with ", element("code", loaded), class_="note") if loaded else None,
    ])  # fmt: skip


def _images(card: Card) -> Content:
    channels, height, width = card["shape"]
    classes = f", {len(card['classes'])} classes" if card.get("classes") else ", no classes"
    return _origin(card, f"{channels} × {height} × {width}{classes}")


def _text(card: Card) -> Content:
    return _origin(card, f"{card.get('vocab_size', '?')} entries of a {card.get('tokenizer', 'joint')} vocabulary")


def _origin(card: Card, form: str) -> Content:
    counts = ", ".join(f"{n:,} {split}" for split, n in card["counts"].items())
    set_aside = card.get("set_aside", {}).get("count", 0)
    note = f"; {set_aside} bad rows set aside" if set_aside else ""
    return [
        f"{card['source']} ({card['licence']}): {counts}; {form}{note}. Content ",
        element("code", str(card["content_hash"])[:12]),
    ]


def _code(headers: Sequence[Mapping[str, Any]]) -> Content:
    commits = _distinct(
        f"{h['git_commit'][:10]}{' with changes not committed' if h.get('git_dirty') else ''}"
        for h in headers
        if h.get("git_commit")
    )
    return element("code", ", ".join(commits)) if commits else "not under git"


def _device(header: Mapping[str, Any]) -> str:
    device, ranks = header.get("environment", {}).get("device", ""), header.get("world_size") or 1
    return f"{ranks} × {device}" if device and ranks > 1 else device


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(v for v in values if v))


def _last(source: str) -> str:
    return source.rstrip("/").rsplit("/", 1)[-1]

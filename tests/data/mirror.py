"""Data set repositories as one downloads them from the hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets

from tests.data.made import CLASSES, pair_file, pair_lines, picture

README = "---\nlicense: cc-by-4.0\n---\n# Made by a test\n"


def pictures_repository(
    folder: Path,
    count: int = 60,
    *,
    columns: Sequence[str] = ("image", "label"),
    splits: Sequence[str] = ("train", "test"),
    label: Any = None,
) -> Path:
    """Parquet files with pictures, and with classes where ``columns`` has a second name."""
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text(README)
    for split in splits:
        rows: dict[str, list[Any]] = {columns[0]: [picture(n) for n in range(count)]}
        features = {columns[0]: datasets.Image()}
        if len(columns) > 1:
            rows[columns[1]] = [n % len(CLASSES) for n in range(count)]
            features[columns[1]] = datasets.ClassLabel(names=list(CLASSES)) if label is None else label
        made = datasets.Dataset.from_dict(rows, features=datasets.Features(features))
        made.to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    return folder


def pairs_repository(folder: Path, count: int = 200, splits: Sequence[str] = ("train",)) -> Path:
    """Lines of JSON, a file for each split."""
    folder.mkdir(parents=True)
    (folder / "README.md").write_text(README)
    for split in splits:
        pair_file(folder / f"{split}.jsonl", pair_lines(".jsonl", count))
    return folder


def table_repository(folder: Path, splits: dict[str, dict[str, list[Any]]], features: Any = None) -> Path:
    """A parquet file for each split, whatever it is called, of columns of anything."""
    folder.mkdir(parents=True)
    files = "".join(f"      - {{split: {split}, path: {split}.parquet}}\n" for split in splits)
    head = f"---\nlicense: cc-by-4.0\nconfigs:\n  - config_name: default\n    data_files:\n{files}---\n"
    (folder / "README.md").write_text(head + "# Made by a test\n")
    for split, columns in splits.items():
        datasets.Dataset.from_dict(columns, features=features).to_parquet(folder / f"{split}.parquet")
    return folder

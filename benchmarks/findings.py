"""Writes what studies found into docs/findings.md, from their pages' figures; the sections of other studies there stay.

python benchmarks/findings.py reports/studies/*/results.json
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "findings.md"


def section(found: dict[str, Any]) -> str:
    """A study's question, what came out, and a row for each claim."""
    said = [f"## {found['study']}\n", f"{found['question']}\n", " ".join(found["verdict"]) + "\n"]
    if found["claims"]:
        rows = [f"| {c['claim'].rstrip('.')} | {c['outcome']} | {c['why']} |" for c in found["claims"]]
        said.append("\n".join(["| claim | outcome | by |", "| --- | --- | --- |", *rows]) + "\n")
    return "\n".join(said)


def main() -> None:
    head, *sections = re.split(r"^(?=## )", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    known = {text.splitlines()[0].removeprefix("## "): text.rstrip("\n") + "\n" for text in sections}
    for file in sys.argv[1:]:
        found = json.loads(Path(file).read_text(encoding="utf-8"))
        known[found["study"]] = section(found)
    PAGE.write_text(head + "\n".join(known[name] for name in sorted(known)), encoding="utf-8")


if __name__ == "__main__":
    main()

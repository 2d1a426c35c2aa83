"""Rows that cannot be used: refused, or set aside with their number and counted; never dropped silently."""

from __future__ import annotations

from collections import Counter

from stepladder.data.card import BadRow, SetAside
from stepladder.errors import UserError
from stepladder.params import OnBadRow

LISTED = 1000  # rows that the card names one by one


class BadRows:
    """The bad rows of one preparation.

    Args:
        on_bad_row: ``"refuse"`` or ``"set-aside"``.
        key: the parameter that says so, for the error.
    """

    def __init__(self, on_bad_row: OnBadRow, key: str) -> None:
        self.on_bad_row, self.key = on_bad_row, key
        self.rows: list[BadRow] = []

    def add(self, split: str, row: int, reason: str) -> None:
        """Note row number ``row`` (from 0) of ``split``; rows are counted by ``reason`` without what it says in brackets."""
        self.rows.append({"split": split, "row": row, "reason": reason})

    def check_refused(self) -> None:
        """Raise ``UserError`` where bad rows are refused and there are some: the first, and how many more."""
        if self.on_bad_row == "refuse" and self.rows:
            first, more = self.rows[0], len(self.rows) - 1
            others = f" ({more} more bad {'row' if more == 1 else 'rows'})" if more else ""
            raise UserError(
                f"Row {first['row']} (counted from 0) of {first['split']}: {first['reason']}{others}; mend the data, "
                f"or set {self.key}=set-aside to do without."
            )

    def note(self) -> str:
        """The part of a sentence that says how many rows were set aside, and the first; empty where none were."""
        if not self.rows:
            return ""
        first, count = self.rows[0], f"{len(self.rows)} bad {'row' if len(self.rows) == 1 else 'rows'}"
        reason = first["reason"].partition(" (")[0]
        return f" without the {count} set aside (row {first['row']} of {first['split']}: {reason})"

    def card(self) -> SetAside:
        """For the card: the count, the count by reason, and the rows."""
        reasons = Counter(row["reason"].partition(" (")[0] for row in self.rows)
        return {"count": len(self.rows), "reasons": dict(sorted(reasons.items())), "rows": self.rows[:LISTED]}

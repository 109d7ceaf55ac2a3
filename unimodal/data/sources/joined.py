"""Several sets of rows as one."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from unimodal.data.sources.tables import Rows


class JoinedRows(Rows):
    """Several sets of rows one after another; a column that one lacks is None there.

    Args:
        tables: at least one.
    """

    def __init__(self, tables: Sequence[Rows]):
        self.tables = tables
        self.column_names = list(dict.fromkeys(name for table in tables for name in table.column_names))
        self.problems = [problem for table in tables for problem in table.problems]
        self.notes = [note for table in tables for note in table.notes]
        self.typed = all(table.typed for table in tables)
        self.classes = {name: names for table in reversed(tables) for name, names in table.classes.items()}
        self.ends = list(accumulate(len(table) for table in tables))

    def __len__(self) -> int:
        return self.ends[-1]

    def _place(self, index: int) -> tuple[Rows, int]:
        which = bisect_right(self.ends, index)
        return self.tables[which], index - (self.ends[which - 1] if which else 0)

    def row(self, index: int) -> dict[str, Any]:
        """One row's values by column."""
        table, inner = self._place(index)
        return dict.fromkeys(self.column_names) | table.row(inner)

    def column(self, name: str) -> list[Any]:
        """One column's values."""
        return [value for table in self.tables for value in _column_or_nones(table, name)]

    def list_lengths(self, name: str) -> list[int | None] | None:
        """Of all tables; where one has no lists there, None for each of its rows."""
        parts = [t.list_lengths(name) if name in t.column_names else None for t in self.tables]
        if all(part is None for part in parts):
            return None
        nones = [[None] * len(table) for table in self.tables]
        return [num for part, none in zip(parts, nones, strict=True) for num in part or none]

    def where(self, index: int) -> str:
        """File and line or row."""
        table, inner = self._place(index)
        return table.where(inner)

    def place(self, index: int) -> tuple[Path, Path]:
        """Of the row's own table."""
        table, inner = self._place(index)
        return table.place(inner)

    def block(self, index: int) -> Any:
        """Blocks do not reach from one table into the next."""
        table, inner = self._place(index)
        return self.tables.index(table), table.block(inner)


def _column_or_nones(table: Rows, name: str) -> list[Any]:
    return table.column(name) if name in table.column_names else [None] * len(table)

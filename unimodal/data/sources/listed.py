"""Rows that hold lists: several pictures of one thing, several captions of one picture."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from unimodal.data.sources.tables import Rows


class ListedRows(Rows):
    """One row for each entry of the lists that a row holds.

    Lists of one row go side by side, the first picture with the first caption; what is no list stands beside
    every entry. So do all other columns: label, split and id are those of the row, also where they are lists.
    A row whose lists differ in length is a problem; an empty list is a missing value.

    Args:
        rows: as they are in the file.
        columns: in which a list means entries, and of each row how many it has there; None for no list.
    """

    def __init__(self, rows: Rows, columns: Mapping[str, Sequence[int | None]]):
        self.rows, self.columns, self.column_names = rows, tuple(columns), list(rows.column_names)
        self.problems, self.notes = list(rows.problems), rows.notes
        self.typed, self.classes = rows.typed, rows.classes
        self.origins, self.entries = array("q"), array("q")
        for origin in range(len(rows)):
            found = {name: num for name, nums in columns.items() if (num := nums[origin]) is not None}
            if len(set(found.values())) > 1:
                listed = ", ".join(f"{num} of {name}" for name, num in found.items())
                self.problems.append(f"{rows.where(origin)}: its lists differ in length: {listed}.")
                continue
            num = max([1, *found.values()])
            self.origins.extend([origin] * num)
            self.entries.extend(range(num))

    def __len__(self) -> int:
        return len(self.origins)

    def row(self, index: int) -> dict[str, Any]:
        """The row's values, of its lists the one entry."""
        entry = self.entries[index]
        values = self.rows.row(self.origins[index]).items()
        return {name: _entry(value, entry) if name in self.columns else value for name, value in values}

    def column(self, name: str) -> list[Any]:
        """One column's values."""
        values = self.rows.column(name)
        if name not in self.columns:
            return [values[origin] for origin in self.origins]
        return [
            _entry(values[origin], entry) for origin, entry in zip(self.origins, self.entries, strict=True)
        ]

    def where(self, index: int) -> str:
        """The row's place, and which entry of several."""
        alone = len(self.siblings(index)) == 1
        return self.rows.where(self.origins[index]) + ("" if alone else f", entry {self.entries[index] + 1}")

    def place(self, index: int) -> tuple[Path, Path]:
        """Of the row."""
        return self.rows.place(self.origins[index])

    def block(self, index: int) -> Any:
        """Of the row."""
        return self.rows.block(self.origins[index])

    def siblings(self, index: int) -> range:
        """The entries of the same row."""
        origin = self.origins[index]
        return range(bisect_left(self.origins, origin), bisect_right(self.origins, origin))


def spread(rows: Rows, columns: Iterable[str]) -> Rows:
    """The rows, one for each entry where some of these columns hold lists."""
    lengths = {name: found for name in columns if (found := rows.list_lengths(name)) is not None}
    return ListedRows(rows, lengths) if lengths else rows


def _entry(value: Any, entry: int) -> Any:
    if not isinstance(value, list | tuple):
        return value
    return value[entry] if value else None

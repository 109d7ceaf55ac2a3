"""Csv and tsv files: rows with the lines at which they end, and what is wrong with others.

Csv files quote values that contain commas, line ends or quotation marks. Most tsv files quote nothing: a
quotation mark is a character of the text.
"""

import csv
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

QUOTE = '"'
csv.field_size_limit(1 << 30)


def delimited_rows(
    path: Path, file: Any, suffix: str, notes: list[str]
) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Yield line and row, or line and what is wrong with it.

    Args:
        path: for messages.
        file: open, with `newline=""`.
        suffix: `.csv` or `.tsv`.
        notes: gets what a user should know of quotation marks, once all rows are read.

    Raises:
        ValueError: for a header that cannot be used and for unbalanced quotation marks; names the line.
    """
    tabs = suffix == ".tsv"
    delimiter = "\t" if tabs else ","
    reader: Any = TsvReader(file) if tabs else csv.reader(file, strict=True)
    merged = list[str]()
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(path, header, delimiter)
        end = reader.line_num
        for values in reader:
            if reader.line_num > end + 1 and _like_rows(values, delimiter):
                merged.append(f"{end + 1} to {reader.line_num}")
            end = reader.line_num
            if len(values) == len(header):
                yield end, dict(zip(header, values, strict=True))
            elif values:
                yield (
                    end,
                    f"has {len(values)} values; the header has {len(header)}. "
                    f"Quote values that contain {delimiter!r}.",
                )
    except csv.Error as error:
        kind = "tsv" if tabs else "csv"
        raise ValueError(f"{path} line {reader.line_num} is no valid {kind}: {error}.") from error
    if merged:
        notes.append(
            f"{path}: {len(merged)} quoted values extend over lines that each look like a row, the first "
            f"from line {merged[0]}; in csv, a quotation mark of a text is written twice, within quotes"
        )


def _like_rows(values: Sequence[str], delimiter: str) -> bool:
    """Whether each line of a row that has several would be a row by itself."""
    lines = delimiter.join(values).split("\n")
    return len(lines) > 1 < len(values) and all(line.count(delimiter) + 1 == len(values) for line in lines)


def _check_header(path: Path, header: list[str], delimiter: str) -> None:
    if not header:
        raise ValueError(f"{path} is empty; its first line must name the columns.")
    double = [name for name in dict.fromkeys(header) if header.count(name) > 1]
    if double:
        raise ValueError(f"{path} has the column {double[0]!r} twice; rename one.")
    other = next((d for d in (";", "\t", ",") if d != delimiter and d in header[0]), None)
    if len(header) == 1 and other:
        raise ValueError(
            f"{path} has one column, {header[0]!r}: its delimiter seems to be {other!r}. "
            + ("Rename it to .tsv." if other == "\t" else "Save it with commas (.csv) or tabs (.tsv).")
        )


class TsvReader(Iterator[list[str]]):
    """The values of each row; the interface is that of `csv.reader`.

    A value is unquoted where it is quoted as csv.writer and pandas do it: quotation marks at both ends, those
    within doubled. Such a value may contain tabs and line ends. A value that only begins with a quotation
    mark is taken as it is, and never swallows the lines below: where a line has as many values as the first
    one, it is a row, unless the lines up to the closing quotation mark have only as many tabs as one row.

    Args:
        lines: with their ends.

    Attributes:
        line_num: the number of lines that were read.
    """

    def __init__(self, lines: Iterable[str]):
        self.lines, self.ahead = iter(lines), deque[str]()
        self.line_num = self.num_values = 0

    def __next__(self) -> list[str]:
        line = self._line()
        if line is None:
            raise StopIteration
        values = self._quoted(line) if QUOTE in line else None
        if values is None:
            values = [_unquoted(value) for value in _literal(line)]
            values = values if values != [""] else []  # a blank line, as csv.reader gives it
        self.num_values = self.num_values or len(values)
        return values

    def _line(self) -> str | None:
        line = self.ahead.popleft() if self.ahead else next(self.lines, None)
        self.line_num += line is not None
        return line

    def _quoted(self, line: str) -> list[str] | None:
        """Return the values of the row that starts here if its quotation marks are balanced, else None."""
        read, full = [line], _num_tabs(line) + 1 == self.num_values
        values = _balanced(read)
        while values == [] and (more := self._line()) is not None:
            read.append(more)
            full = full or _num_tabs(more) + 1 == self.num_values
            if full and sum(map(_num_tabs, read)) + 1 > self.num_values:
                break
            values = _balanced(read) if QUOTE in more else []
        if values and self._fits(values, read, full):
            return values
        self.ahead.extendleft(reversed(read[1:]))
        self.line_num -= len(read) - 1
        return None

    def _fits(self, values: list[str], read: list[str], full: bool) -> bool:
        if not self.num_values:  # the header
            return len(read) == 1
        if len(read) == 1:
            return len(values) == self.num_values or not full
        if self.num_values == 1:
            raise csv.Error(
                f"one quoted value would reach from line {self.line_num - len(read) + 1} to line "
                f"{self.line_num}, or these are {len(read)} rows with quotation marks of their own; save the "
                "table as .csv or .jsonl"
            )
        return len(values) == self.num_values


def _balanced(lines: list[str]) -> list[str] | None:
    """Return the values of lines; [] if a quoted value does not end in them, None if one is malformed."""
    try:
        return next(csv.reader(lines, delimiter="\t", strict=True))
    except csv.Error as error:
        return [] if "unexpected end of data" in str(error) else None


def _literal(line: str) -> list[str]:
    return line.rstrip("\r\n").split("\t")


def _num_tabs(line: str) -> int:
    return line.count("\t")


def _unquoted(value: str) -> str:
    inner = value[1:-1]
    quoted = len(value) > 1 and value[0] == value[-1] == QUOTE and QUOTE not in inner.replace(QUOTE * 2, "")
    return inner.replace(QUOTE * 2, QUOTE) if quoted else value

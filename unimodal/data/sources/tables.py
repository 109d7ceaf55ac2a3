"""Tables in memory: csv, tsv, jsonl and parquet files, columns of plain values and where each row stands."""

import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from unimodal.data.sources.conll import conll_rows
from unimodal.data.sources.delimited import delimited_rows
from unimodal.data.sources.label_reader import hot_length

CHUNK = 65_536  # rows that become one piece of a column


class Rows:
    """Rows of named columns. Cheap to keep: nothing is decoded.

    Attributes:
        column_names: in the file's order.
        problems: of lines that are no rows, each with its place.
        notes: what a user should know of how the rows were read.
        typed: text differs from numbers, which it does not in csv files.
        classes: of columns of ids whose classes the data names, these names in the order of the ids.
    """

    column_names: Sequence[str]
    problems: Sequence[str] = ()
    notes: Sequence[str] = ()
    typed: bool = True
    classes: Mapping[str, Sequence[str]] = {}

    def __len__(self) -> int:
        raise NotImplementedError

    def row(self, index: int) -> dict[str, Any]:
        """One row's values by column."""
        raise NotImplementedError

    def column(self, name: str) -> list[Any]:
        """One column's values."""
        raise NotImplementedError

    def where(self, index: int) -> str:
        """How messages call a row."""
        raise NotImplementedError

    def place(self, index: int) -> tuple[Path, Path]:
        """The folder under which a row's files must lie, and the one that their names are relative to."""
        raise NotImplementedError

    def block(self, index: int) -> Any:
        """Rows of the same block are read together."""
        return 0

    def siblings(self, index: int) -> range:
        """The rows, this one among them, that say different things of the same: they stay in one split."""
        return range(index, index + 1)

    def list_lengths(self, name: str) -> list[int | None] | None:
        """Of each row the number of entries in a column, None for no list; or None where there are no lists.

        A list of numbers, or of lists, is one value, such as decoded pixels.
        """
        return None


class Table(Rows):
    """A file in memory.

    Args:
        name: of the file.
        columns: values by name, all of one length.
        lines: the line at which each row ends; None: rows are counted from 0.
        problems: of lines that are no rows.
        root: under which the rows' files must lie, resolved.
        start: the folder that their names are relative to; by default the root.
    """

    def __init__(
        self,
        name: str,
        columns: dict[str, Any],
        lines: Sequence[int] | None = None,
        problems: Sequence[str] = (),
        root: Path = Path(),
        start: Path | None = None,
    ):
        self.name, self.columns, self.lines = name, columns, lines
        self.column_names, self.problems = list(columns), list(problems)
        self.root, self.start = root, start or root

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def row(self, index: int) -> dict[str, Any]:
        """One row's values by column."""
        values = {name: _plain(values[index]) for name, values in self.columns.items()}
        return values | {name: named(values[name], names) for name, names in self.classes.items()}

    def column(self, name: str) -> list[Any]:
        """One column's values."""
        values = self.columns[name]
        plain = values.to_pylist() if isinstance(values, pa.ChunkedArray) else list(values)
        return named_column(plain, self.classes.get(name))

    def is_plain(self, name: str) -> bool:
        """Whether a column holds text, numbers and truth values only."""
        values = self.columns[name]
        if isinstance(values, pa.ChunkedArray):
            kinds = (pa.types.is_large_string, pa.types.is_string, pa.types.is_integer, pa.types.is_floating)
            return any(kind(values.type) for kind in (*kinds, pa.types.is_boolean))
        return all(value is None or isinstance(value, str | int | float) for value in values)

    def list_lengths(self, name: str) -> list[int | None] | None:
        """By the column's values."""
        return lengths_of(self.columns[name])

    def where(self, index: int) -> str:
        """File and line, or file and row counted from 0."""
        if self.lines is not None:
            return f"{self.name} line {self.lines[index]}"
        return f"{self.name} row {index}"

    def place(self, index: int) -> tuple[Path, Path]:
        """The same for all rows."""
        return self.root, self.start


def named_column(values: list[Any], names: Sequence[str] | None) -> list[Any]:
    """Return classes by their names; lists with a 0 or 1 for each name stay multi-hot vectors."""
    if not names:
        return values
    lists = [value for value in values if isinstance(value, list)]
    hot = {len(value) for value in lists} == {len(names)} and hot_length(lists)
    return values if hot else [named(value, names) for value in values]


def named(value: Any, names: Sequence[str]) -> Any:
    """Return a class by its name, also in lists; -1, by which `datasets` marks a missing one, is None."""
    if isinstance(value, list):
        return [named(one, names) for one in value]
    if not isinstance(value, int):
        return value
    return names[value] if 0 <= value < len(names) else None


def lengths_of(values: Any) -> list[int | None] | None:
    """`Rows.list_lengths` of a column, an Arrow array or plain values."""
    if isinstance(values, pa.ChunkedArray):
        kind = values.type
        if not _is_list(kind) or _is_list(kind.value_type) or pa.types.is_primitive(kind.value_type):
            return None
        return pc.list_value_length(values).to_pylist()
    lengths = [_num_entries(value) for value in values]
    return None if all(length is None for length in lengths) else lengths


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _num_entries(value: Any) -> int | None:
    lists = isinstance(value, list | tuple)
    return len(value) if lists and not any(isinstance(one, int | float | list) for one in value) else None


def read_table(path: Path, root: Path | None = None, start: Path | None = None) -> Table:
    """Read a csv, tsv, jsonl, parquet or conll file.

    Args:
        path: of the file.
        root: under which the files that rows name must lie; by default the table's own folder.
        start: the folder that their names are relative to; by default the table's own folder.

    Raises:
        ValueError: if it cannot be read; names the file, and the line where there is one.
    """
    suffix, folder, notes = path.suffix.lower(), path.resolve().parent, list[str]()
    try:
        if suffix == ".parquet":
            table = _read_parquet(path)
        else:
            with open(path, encoding="utf-8-sig", newline="") as file:
                table = _collect(path, _rows_of(path, file, suffix, notes))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8.") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}.") from error
    table.root, table.start, table.notes = root or folder, start or folder, notes
    table.typed = suffix not in (".csv", ".tsv")
    return table


def _rows_of(
    path: Path, file: Any, suffix: str, notes: list[str]
) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Line and row, or line and what is wrong with it."""
    if suffix == ".conll":
        return conll_rows(file)
    return _json_rows(file) if suffix in (".jsonl", ".ndjson") else delimited_rows(path, file, suffix, notes)


def _json_rows(file: Any) -> Iterator[tuple[int, dict[str, Any] | str]]:
    for line, text in enumerate(file, 1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            yield line, f"is no valid JSON: {error}."
            continue
        yield line, row if isinstance(row, dict) else f"is no JSON object, but a {type(row).__name__}."


def _collect(path: Path, rows: Iterator[tuple[int, dict[str, Any] | str]]) -> Table:
    lines, columns, problems = array("q"), dict[str, _Column](), list[str]()
    for line, row in rows:
        if isinstance(row, str):
            problems.append(f"{path} line {line}: {row}")
            continue
        for name, value in row.items():
            if name not in columns:
                columns[name] = _Column(len(lines))
            columns[name].append(value)
        lines.append(line)
        for name in columns.keys() - row.keys():
            columns[name].append(None)
    finished = {name: column.finish() for name, column in columns.items()}
    return Table(str(path), finished, lines, problems)


class _Column:
    """Values as they come: text goes into Arrow's compact memory piece by piece, all else stays a list."""

    def __init__(self, missing: int):
        self.pieces: list[pa.Array] | None = []
        self.values: list[Any] = [None] * missing

    def append(self, value: Any) -> None:
        self.values.append(value)
        if self.pieces is not None and len(self.values) >= CHUNK:
            self._pack()

    def finish(self) -> Any:
        if self.pieces is not None:
            self._pack()
        return self.values if self.pieces is None else pa.chunked_array(self.pieces, pa.large_string())

    def _pack(self) -> None:
        assert self.pieces is not None
        try:
            if not all(value is None or isinstance(value, str) for value in self.values):
                raise ValueError
            self.pieces.append(pa.array(self.values, pa.large_string()))
            self.values = []
        except ValueError:  # not all text, or half a surrogate pair in it
            self.values = [value for piece in self.pieces for value in piece.to_pylist()] + self.values
            self.pieces = None


def _read_parquet(path: Path) -> Table:
    try:
        table = pq.read_table(path, memory_map=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{path} is no readable parquet file: {str(error).splitlines()[0]}") from error
    double = [name for name in table.column_names if table.column_names.count(name) > 1]
    if double:
        raise ValueError(f"{path} has the column {double[0]!r} twice; rename one.")
    read = Table(str(path), {name: table.column(name) for name in table.column_names})
    read.classes = _declared_classes(table.schema.metadata or {})
    return read


def _declared_classes(metadata: Mapping[bytes, bytes]) -> dict[str, Sequence[str]]:
    """The names of each `ClassLabel`, which Hugging Face's `datasets` writes into a parquet file's schema."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        ones = {column: feature.get("feature", feature) for column, feature in features.items()}
        return {column: one["names"] for column, one in ones.items() if one.get("_type") == "ClassLabel"}
    except (KeyError, ValueError, TypeError, AttributeError):  # written by something else
        return {}


def _plain(value: Any) -> Any:
    return value.as_py() if isinstance(value, pa.Scalar) else value

"""What reading a folder or a table gives, before labels and splits are settled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unimodal.data.sources.columns import Columns, choose
from unimodal.data.sources.joined import JoinedRows
from unimodal.data.sources.listed import ListedRows, spread
from unimodal.data.sources.rows import MediaRows
from unimodal.data.sources.splits import SplitNames
from unimodal.data.sources.tables import Rows, read_table


@dataclass
class Reading:
    """Rows and what is known of them.

    Attributes:
        samples: the rows' media.
        columns: of the rows.
        given: the split of each row, or None where the data does not say.
        notes: what a user should know.
        label_hint: how labels would be given.
        class_names: the classes that the data declares, in the order of their ids; None where it does not.
    """

    samples: MediaRows
    columns: Columns
    given: Sequence[str | None]
    notes: list[str] = field(default_factory=list)
    label_hint: str = "choose other data or another task"
    class_names: Sequence[str] | None = None


def read_tables(
    files: Mapping[Path, str | None],
    columns: Mapping[str, Any],
    names: SplitNames,
    allow_outside: bool = False,
    root: Path | None = None,
    start: Path | None = None,
) -> Reading:
    """Files of rows as one.

    Args:
        files: with the split that each is, or None.
        columns: as the user says them.
        names: of the splits in a split column.
        allow_outside: let media lie elsewhere.
        root: under which media must lie; by default each table's own folder.
        start: the folder that their names are relative to; by default each table's own folder.

    Raises:
        ValueError: as `read_table` and `choose`.
    """
    tables = [read_table(file, root, start) for file in files]
    splits = [split for table, split in zip(tables, files.values(), strict=True) for _ in range(len(table))]
    rows = tables[0] if len(tables) == 1 else JoinedRows(tables)
    return of_rows(rows, str(next(iter(files))), splits, columns, names, allow_outside)


def of_rows(
    rows: Rows,
    name: str,
    splits: Sequence[str | None],
    columns: Mapping[str, Any],
    names: SplitNames,
    allow_outside: bool = False,
) -> Reading:
    """Settle the columns of rows, and read the split column where there is one."""
    if not len(rows):
        first = f": {rows.problems[0]}" if rows.problems else "."
        raise ValueError(f"{name} has no rows{first}")
    chosen = choose(rows, columns, name)
    num_read, rows = len(rows), spread(rows, chosen.spread)
    notes = []
    if isinstance(rows, ListedRows):
        splits = [splits[origin] for origin in rows.origins]
        notes = [f"{len(rows):,} samples of {num_read:,} rows: lists in {', '.join(rows.columns)}"]
    if chosen.split and not all(splits):
        values = rows.column(chosen.split)
        where = f"{name}, column {chosen.split}"
        asked = {value for value, split in zip(values, splits, strict=True) if split is None}
        known = {value: names.canonical(str(value), where) for value in asked}
        splits = [split or known[value] for value, split in zip(values, splits, strict=True)]
    there = ", ".join(rows.column_names)
    hint = (
        f"{name} has the columns {there}; say which is the label with data.columns.label=NAME, or "
        "'data.columns.label=[NAME,NAME]' for several"
    )
    samples = MediaRows(rows, chosen.media, chosen.text_files, allow_outside, chosen.regions)
    declared = rows.classes.get(chosen.label[0]) if len(chosen.label) == 1 else None
    return Reading(samples, chosen, splits, notes, hint, declared)

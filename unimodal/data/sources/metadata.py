"""Files beside metadata tables: which tables a folder has, and what becomes of the files that none lists."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from unimodal.data.sources.columns import Columns, choose
from unimodal.data.sources.files import Files
from unimodal.data.sources.joined import JoinedRows
from unimodal.data.sources.layout import Found, class_folders
from unimodal.data.sources.paths import TABLES, field_of, inside
from unimodal.data.sources.reading import Reading, of_rows
from unimodal.data.sources.rows import MediaRows
from unimodal.data.sources.scan import Scan, is_remark, numbered
from unimodal.data.sources.splits import SplitNames
from unimodal.data.sources.tables import Rows, Table, read_table

FILE_FIELDS = ("image", "audio", "video")


def read_metadata(
    root: Path, names: SplitNames, columns: Mapping[str, Any], allow_outside: bool = False
) -> Reading | None:
    """The rows of all metadata tables of a folder and its split folders; None if there is no table.

    Where only split folders have tables, a split folder without one gives its class folders, or files without
    a label. Files that no row names are counted in a note.

    Raises:
        ValueError: if two tables say different things of one file, or a split folder without a table does not
            go with the tables of the others.
    """
    files = _tables_of(root, names)
    if not files:
        return None
    for file in files:
        inside(root, str(file), str(root), allow_outside)
    tables: list[Table] = [read_table(file, root) for file in files]
    name = str(next(iter(files)))
    tables, notes = _once(tables, columns, name)
    splits = [split for table, split in zip(tables, files.values(), strict=True) for _ in range(len(table))]
    if None not in files.values():
        scan = Scan(root, allow_outside)
        added, said = _without_table(scan, names, list(files), JoinedRows(tables), columns)
        tables += added
        splits += [split for table, split in added.items() for _ in range(len(table))]
        notes += said
        tables[-1].problems = [*tables[-1].problems, *scan.problems]
    rows = tables[0] if len(tables) == 1 else JoinedRows(tables)
    reading = of_rows(rows, name, splits, columns, names, allow_outside)
    if not all(reading.given) and columns.get("split") != "none":
        reading.given = _by_folder(reading, root, names)
    reading.notes += notes + unlisted(root, _names(reading.samples, root), list(files), allow_outside)
    return reading


def unlisted(
    root: Path, listed: set[str], tables: Sequence[Path] = (), allow_outside: bool = False
) -> list[str]:
    """Notes on the files below a folder that are not read, by kind.

    Args:
        root: the folder.
        listed: names of those that are, relative to it.
        tables: that are read; other tables are files of no kind.
        allow_outside: follow links out of the folder.
    """
    scan = Scan(root, allow_outside, tables)
    left = Counter(
        field_of(name) or "" for name in scan.walk(root) if name not in listed and not is_remark(name)
    )
    if not left:
        return scan.notes()
    listed_in = "listed in " + " or ".join(str(file.relative_to(root)) for file in tables[:3])
    where = listed_in + " ..." * (len(tables) > 3) if tables else "in a pair of images and masks"
    are = "is" if left.total() == 1 else "are"
    return [f"{numbered(left)} {are} not {where} and {are} left out", *scan.notes()]


def _tables_of(root: Path, names: SplitNames) -> dict[Path, str | None]:
    """The metadata tables, each with its split; those of the folder itself come last."""
    folders = [name for name in Scan(root).folders(root) if name in names]
    return {
        file: names.canonical(folder, str(root)) if folder else None
        for folder in (*folders, "")
        for suffix in TABLES
        if (file := root / folder / f"metadata{suffix}").is_file()
    }


def _once(tables: list[Table], columns: Mapping[str, Any], name: str) -> tuple[list[Table], list[str]]:
    """The tables without the rows of files that an earlier table lists alike."""
    if len(tables) == 1:
        return tables, []
    chosen = choose(JoinedRows(tables), columns, name)
    column = next((chosen.media[field] for field in FILE_FIELDS if field in chosen.media), None)
    if column is None:
        return tables, []
    seen: dict[str, tuple[Table, list[int]]] = {}
    kept, num_again = [], 0
    for table in tables:
        own: dict[str, list[int]] = defaultdict(list)
        for index, value in enumerate(table.column(column) if column in table.column_names else ()):
            if isinstance(value, str):
                own[os.path.normpath(table.start / value)].append(index)
        again = {file: rows for file, rows in own.items() if file in seen}
        for file, rows in again.items():
            _check_alike(file, (table, rows), seen[file], column)
        seen |= {file: (table, rows) for file, rows in own.items() if file not in again}
        dropped = {row for rows in again.values() for row in rows}
        kept.append(_subset(table, [i for i in range(len(table)) if i not in dropped]) if dropped else table)
        num_again += len(again)
    return kept, [f"{num_again} files are in two metadata tables and are read once"] if num_again else []


def _check_alike(
    file: str, one: tuple[Table, list[int]], other: tuple[Table, list[int]], column: str
) -> None:
    (table, rows), (first, first_rows) = one, other
    names = [name for name in {*table.column_names, *first.column_names} if name != column]
    said = [
        sorted(_said(table, row, names) for row in rows),
        sorted(_said(first, r, names) for r in first_rows),
    ]
    if said[0] != said[1]:
        different = sorted({text.split("=")[0] for text in _symmetric(*said)})
        raise ValueError(
            f"{first.where(first_rows[0])} and {table.where(rows[0])} say different things of {file} "
            f"({', '.join(different)}); correct one of them or remove it."
        )


def _said(table: Table, row: int, names: Sequence[str]) -> list[str]:
    values = table.row(row)
    return sorted(f"{name}={values.get(name)}" for name in names if values.get(name) not in (None, ""))


def _symmetric(one: list[list[str]], other: list[list[str]]) -> set[str]:
    return {text for texts in one for text in texts} ^ {text for texts in other for text in texts}


def _subset(table: Table, rows: Sequence[int]) -> Table:
    columns = {
        name: values.take(pa.array(rows, pa.int64()))
        if isinstance(values, pa.ChunkedArray)
        else [values[row] for row in rows]
        for name, values in table.columns.items()
    }
    lines = None if table.lines is None else [table.lines[row] for row in rows]
    return Table(table.name, columns, lines, table.problems, table.root, table.start)


def _without_table(
    scan: Scan, names: SplitNames, files: Sequence[Path], tables: Rows, columns: Mapping[str, Any]
) -> tuple[dict[Table, str], list[str]]:
    """Rows of the split folders that have no table, by the split of each, and notes that say so."""
    having, chosen = {file.parent for file in files}, choose(tables, columns, str(files[0]))
    media = {field: column for field, column in chosen.media.items() if field != "prompt"}
    added, notes = dict[Table, str](), []
    for folder in scan.folders(scan.root):
        if folder not in names or scan.root / folder in having:
            continue
        split = names.canonical(folder, str(scan.root))
        found = [one for one in class_folders(scan, scan.root / folder, split) if one.field in media]
        if not found:
            continue
        _check_fits(scan.root / folder, found, chosen, files[0])
        column = media[found[0].field]
        values: dict[str, Any] = {column: [one.name for one in found]}
        values |= {name: [one.label for one in found] for name in chosen.label}
        added[Files(scan.root, values, column=column)] = split
        classes = "their classes are the names of their folders" if found[0].label else "they have no label"
        notes.append(f"{folder}: {len(found):,} files without a metadata table; {classes}")
    return added, notes


def _check_fits(folder: Path, found: Sequence[Found], chosen: Columns, table: Path) -> None:
    """Raise where files without a table lack what the tables of other splits say."""
    labelled = any(one.label is not None for one in found)
    media = [field for field in chosen.media if field != "prompt"]
    simple = len(media) == 1 and media[0] != "parts" and not chosen.regions and len(chosen.label) <= 1
    if simple and (chosen.label or not labelled):
        return
    there = ", ".join([*chosen.media.values(), *chosen.label, *chosen.regions.values()])
    what = "class folders" if labelled else "files"
    raise ValueError(
        f"{folder} has {what} but no metadata table, while {table} has the columns {there}, which folders do "
        f"not say; add {folder / table.name} with the same columns, or move {folder.name} elsewhere."
    )


def _by_folder(reading: Reading, root: Path, names: SplitNames) -> Sequence[str | None]:
    """Fill in the splits that the files' own folders are called.

    Where no row has a split yet, all files must lie in such folders, one of them called train; else the
    folders may be classes.
    """
    files = _first_names(reading.samples, root)
    firsts = [name.split("/")[0] if name and "/" in name else "" for name in files]
    known = {first: names.canonical(first, str(root)) for first in set(firsts) if first in names}
    if not any(reading.given) and (len(known) < len(set(firsts)) or "train" not in known.values()):
        return reading.given
    return [split or known.get(first) for split, first in zip(reading.given, firsts, strict=True)]


def _first_names(samples: MediaRows, root: Path) -> Iterator[str | None]:
    """Of each row the name of its first file, relative to the root."""
    columns = [samples.media[field] for field in FILE_FIELDS if field in samples.media]
    values = samples.rows.column(columns[0]) if columns else []
    for index, value in enumerate(values):
        found = next(_strings(value), None)
        yield None if found is None else _relative(samples.rows.place(index)[1], found, root)


def _names(samples: MediaRows, root: Path) -> set[str]:
    """All files that rows name, relative to the root."""
    fields = [field for field in samples.media if field in (*FILE_FIELDS, "parts")]
    fields += ["text"] if samples.text_files and "text" in samples.media else []
    columns = [samples.media[field] for field in fields]
    columns += [samples.regions["mask"]] if "mask" in samples.regions else []
    found: set[str] = set()
    for column in columns:
        for index, value in enumerate(samples.rows.column(column)):
            start = samples.rows.place(index)[1]
            found.update(_relative(start, name, root) for name in _strings(value))
    return found


def _relative(start: Path, name: str, root: Path) -> str:
    path = os.path.normpath(os.path.join(start, name))
    base = f"{root}{os.sep}"
    return path[len(base) :].replace(os.sep, "/") if path.startswith(base) else path


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _strings(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _strings(one)

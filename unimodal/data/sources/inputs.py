"""What a trained model is asked about: a file, a folder, a table, a glob; without labels and splits."""

import glob
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unimodal.data.decoding.encoded import Encoded
from unimodal.data.decoding.texts import decode_text
from unimodal.data.sources.columns import choose
from unimodal.data.sources.paths import TABLES, existing, field_of
from unimodal.data.sources.rows import MediaRows
from unimodal.data.sources.scan import Scan
from unimodal.data.sources.tables import Table, read_table
from unimodal.types import Sample


class Inputs(Sequence[Sample]):
    """Samples to ask about, not decoded yet.

    Args:
        samples: the rows' media.
        names: what each is called in the answers: a file's name relative to the folder, or the row.
        columns: of a table, to be repeated in the answers.
        problems: what could not be read at all.
    """

    def __init__(
        self,
        samples: MediaRows,
        names: Sequence[str],
        columns: Mapping[str, Sequence[Any]] | None = None,
        problems: Sequence[str] = (),
    ):
        self.samples, self.names = samples, names
        self.columns, self.problems = dict(columns or {}), list(problems)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: Any) -> Any:
        return self.samples[index]


def read_inputs(
    path: str | Sequence[str],
    field: str,
    columns: Mapping[str, Any] | None = None,
    allow_outside: bool = False,
) -> Inputs:
    """Find the samples.

    Args:
        path: a media file; a text file, whose lines are the samples; a table; a folder, all of whose files of
            the field are; a glob or a list of files.
        field: image, audio, video or text, what the model reads.
        columns: of a table, by role, as for `data=table`.
        allow_outside: follow links and names out of the folder.

    Raises:
        ValueError: if there is nothing that the model reads.
    """
    if not isinstance(path, str):
        return _files([existing(one) for one in path], field, allow_outside)
    if not os.path.exists(os.path.expanduser(path)) and any(sign in path for sign in "*?["):
        found = sorted(glob.glob(os.path.expanduser(path), recursive=True))
        if not found:
            raise ValueError(f"inputs={path} matches no file (seen from {Path.cwd()}).")
        return _files([Path(one).resolve() for one in found], field, allow_outside)
    place = existing(path, "inputs")
    if place.is_dir():
        return _folder(place, field, allow_outside)
    if place.suffix.lower() in TABLES:
        return _table(place, field, columns or {}, allow_outside)
    if field == "text":
        return _lines(place)
    return _files([place], field, allow_outside)


def _folder(root: Path, field: str, allow_outside: bool) -> Inputs:
    scan = Scan(root, allow_outside)
    names = [name for name in scan.walk(root) if field_of(name) == field]
    if not names:
        others = Counter(field_of(name) for name in scan.walk(root))
        there = [", ".join(f"{count} {kind}" for kind, count in others.most_common())] if others else []
        kinds = "; ".join([*there, *scan.notes(), *scan.problems[:3]]) or "it is empty"
        raise ValueError(f"inputs={root} holds no {field} files ({kinds}).")
    return _of_names(root, names, field, allow_outside, scan.problems)


def _files(paths: Sequence[Path], field: str, allow_outside: bool) -> Inputs:
    wrong = next((path for path in paths if field_of(path.name) != field), None)
    if wrong:
        kind = field_of(wrong.name) or f"of no kind that is read ({wrong.suffix})"
        raise ValueError(f"inputs={wrong} is {kind}; this model reads {field}.")
    root = Path(os.path.commonpath([path.parent for path in paths]))
    names = [path.relative_to(root).as_posix() for path in paths]
    return _of_names(root, names, field, allow_outside)


def _of_names(
    root: Path, names: list[str], field: str, allow_outside: bool, problems: Sequence[str] = ()
) -> Inputs:
    table = Table(str(root), {"file": names}, root=root)
    samples = MediaRows(table, {field: "file"}, text_files=True, allow_outside=allow_outside)
    return Inputs(samples, names, problems=problems)


def _table(path: Path, field: str, columns: Mapping[str, Any], allow_outside: bool) -> Inputs:
    table = read_table(path)
    if not len(table):
        raise ValueError(f"inputs={path} has no rows.")
    said = {role: column for role, column in columns.items() if column is not None}
    chosen = choose(table, {"label": "none", "split": "none", **said}, str(path), "columns")
    if field not in chosen.media:
        raise ValueError(
            f"inputs={path} has no column for {field}; it has {', '.join(table.column_names)}. "
            f"Say which it is with columns.{field}=NAME."
        )
    plain = {name: table.column(name) for name in table.column_names if table.is_plain(name)}
    samples = MediaRows(table, {field: chosen.media[field]}, chosen.text_files, allow_outside)
    return Inputs(samples, [table.where(i) for i in range(len(table))], plain, table.problems)


def _lines(path: Path) -> Inputs:
    lines = [line for line in decode_text(Encoded(path=str(path))).split("\n") if line.strip()]
    if not lines:
        raise ValueError(f"inputs={path} is empty; write one text a line.")
    table = Table(str(path), {"text": lines})
    return Inputs(MediaRows(table, {"text": "text"}), lines)

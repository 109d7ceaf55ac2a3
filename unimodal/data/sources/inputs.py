"""What a trained model is asked about: a file, a folder, a table, a glob; without labels and splits."""

import glob
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from unimodal.data.decoding.encoded import BadSample, Encoded
from unimodal.data.decoding.texts import decode_text
from unimodal.data.sources.columns import choose
from unimodal.data.sources.listed import spread
from unimodal.data.sources.paths import TABLES, existing, field_of
from unimodal.data.sources.rows import MediaRows
from unimodal.data.sources.scan import Scan, is_remark, numbered
from unimodal.data.sources.tables import Table, read_table
from unimodal.types import Sample


class Inputs(Sequence[Sample]):
    """Samples to ask about, not decoded yet.

    Args:
        samples: the rows' media.
        names: what each is called in the answers: a file's name relative to the folder, or the row.
        columns: of a table, to be repeated in the answers.
        problems: what could not be read at all.
        notes: what was left out.
    """

    def __init__(
        self,
        samples: MediaRows,
        names: Sequence[str],
        columns: Mapping[str, Sequence[Any]] | None = None,
        problems: Sequence[str] = (),
        notes: Sequence[str] = (),
    ):
        self.samples, self.names = samples, names
        self.columns, self.problems, self.notes = dict(columns or {}), list(problems), list(notes)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: Any) -> Any:
        sample = self.samples[index]
        text = sample.get("text")
        if isinstance(text, str) and not text.strip():
            raise BadSample(f"{self.samples.rows.where(index)}: has no text.")
        return sample


def read_inputs(
    path: str | Sequence[str],
    fields: Sequence[str],
    columns: Mapping[str, Any] | None = None,
    allow_outside: bool = False,
    optional: Collection[str] = (),
    allow_missing: bool = False,
) -> Inputs:
    """Find the samples.

    Args:
        path: a table; or where the model reads one field, a media file; a text file, whose lines are the
            samples; a folder, all of whose files of the field are; a glob or a list of files.
        fields: of image, audio, video and text, what the model reads together.
        columns: of a table, by role, as for `data=table`.
        allow_outside: follow links and names out of the folder.
        optional: what it reads besides, such as a prompt, where a table has a column of this name or one that
            `columns` names.
        allow_missing: one of `fields` is enough; a table may also hold `parts` instead.

    Raises:
        ValueError: if there is nothing that the model reads.
    """
    found = _found(path)
    if isinstance(found, Path) and found.suffix.lower() in TABLES:
        return _table(found, fields, columns or {}, allow_outside, optional, allow_missing)
    if len(fields) > 1:
        raise ValueError(
            f"inputs={path}: this model reads {', '.join(fields)} together; "
            "give a table with a column for each."
        )
    [field] = fields
    if not isinstance(found, Path):
        return _files(found, field, allow_outside)
    if found.is_dir():
        return _folder(found, field, allow_outside)
    return _lines(found) if field == "text" else _files([found], field, allow_outside)


def _found(path: str | Sequence[str]) -> Path | list[Path]:
    """One place, or the files of a list or a glob."""
    if not isinstance(path, str):
        return [existing(one) for one in path]
    if os.path.exists(os.path.expanduser(path)) or not any(sign in path for sign in "*?["):
        return existing(path, "inputs")
    files = sorted(glob.glob(os.path.expanduser(path), recursive=True))
    if not files:
        raise ValueError(f"inputs={path} matches no file (seen from {Path.cwd()}).")
    return [Path(file).resolve() for file in files]


def _folder(root: Path, field: str, allow_outside: bool) -> Inputs:
    scan = Scan(root, allow_outside)
    every = list(scan.walk(root))
    names = [name for name in every if field_of(name) == field]
    others = Counter(
        field_of(name) or "" for name in every if field_of(name) != field and not is_remark(name)
    )
    if not names:
        there = [", ".join(f"{count} {kind}" for kind, count in others.most_common())] if others else []
        kinds = "; ".join([*there, *scan.notes(), *scan.problems[:3]]) or "it is empty"
        raise ValueError(f"inputs={root} holds no {field} files ({kinds}).")
    left = [f"left out: {numbered(others)}; this model reads {field}"] if others else []
    return _of_names(root, names, field, allow_outside, scan.problems, left + scan.notes())


def _files(paths: Sequence[Path], field: str, allow_outside: bool) -> Inputs:
    wrong = next((path for path in paths if field_of(path.name) != field), None)
    if wrong:
        kind = field_of(wrong.name) or f"of no kind that is read ({wrong.suffix})"
        raise ValueError(f"inputs={wrong} is {kind}; this model reads {field}.")
    root = Path(os.path.commonpath([path.parent for path in paths]))
    names = [path.relative_to(root).as_posix() for path in paths]
    return _of_names(root, names, field, allow_outside)


def _of_names(
    root: Path,
    names: list[str],
    field: str,
    allow_outside: bool,
    problems: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Inputs:
    table = Table(str(root), {"file": names}, root=root)
    samples = MediaRows(table, {field: "file"}, text_files=True, allow_outside=allow_outside)
    return Inputs(samples, names, problems=problems, notes=notes)


def _table(
    path: Path,
    fields: Sequence[str],
    columns: Mapping[str, Any],
    allow_outside: bool,
    optional: Collection[str],
    allow_missing: bool,
) -> Inputs:
    table = read_table(path)
    if not len(table):
        raise ValueError(f"inputs={path} has no rows.")
    said = {field: field for field in optional if field in table.column_names}
    said |= {role: column for role, column in columns.items() if column is not None}
    chosen = choose(table, {"label": "none", "split": "none", **said}, str(path), "columns")
    missing = [field for field in fields if field not in chosen.media]
    if missing and "parts" not in chosen.media and not (allow_missing and len(missing) < len(fields)):
        raise ValueError(
            f"inputs={path} has no column for {missing[0]}; it has {', '.join(table.column_names)}. "
            f"Say which it is with columns.{missing[0]}=NAME."
        )
    media = {role: column for role, column in chosen.media.items() if role in (*fields, *optional, "parts")}
    words = {role: column for role, column in chosen.regions.items() if role == "tokens"}
    rows = spread(table, [column for column in media.values() if column in chosen.spread])
    plain = {name: rows.column(name) for name in table.column_names if table.is_plain(name)}
    samples = MediaRows(rows, media, chosen.text_files, allow_outside, words)
    samples.allow_missing = allow_missing
    return Inputs(samples, [rows.where(i) for i in range(len(rows))], plain, rows.problems, rows.notes)


def _lines(path: Path) -> Inputs:
    text = decode_text(Encoded(path=str(path)))
    if not text.strip():
        raise ValueError(f"inputs={path} is empty; write one text a line.")
    lines = text.removesuffix("\n").split("\n")
    table = Table(str(path), {"text": lines}, range(1, len(lines) + 1))
    return Inputs(MediaRows(table, {"text": "text"}), lines)

"""Rows in csv, tsv, jsonl or parquet files."""

import glob
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unimodal.data.sources.labels import Labels
from unimodal.data.sources.paths import TABLES, existing, inside
from unimodal.data.sources.policy import Policy
from unimodal.data.sources.reading import read_tables
from unimodal.data.sources.row_source import RowSource
from unimodal.data.sources.splits import SplitNames


class TableSource(RowSource):
    """Files of rows; media stand in them as bytes, or as names of files under the table's own folder.

    Args:
        path: a file, a folder of them, a glob such as `data/*.csv`, or a list; None: `splits` names files.
        columns: by role (image, audio, video, text, label, split, id); `none` for no such column; several for
            `label` are numbers to predict. What is not said is guessed where only one column can be meant.
        splits: a split's name in the split column, or its file. Files called like splits (`train.csv`,
            `test-00000-of-00002.parquet`) are those.
        labels: how labels are read.
        root: of the media files, instead of each table's own folder.
        allow_outside_root: let rows name files elsewhere.
        policy: see `Policy`.
    """

    def __init__(
        self,
        path: str | Sequence[str] | None = None,
        columns: Mapping[str, Any] | None = None,
        splits: Mapping[str, str | None] | None = None,
        labels: Labels | None = None,
        root: str | None = None,
        allow_outside_root: bool = False,
        **policy: Any,
    ):
        files, names = table_files(path, splits or {})
        base = existing(root, "data.root") if root else None
        reading = read_tables(files, columns or {}, names, allow_outside_root, base, base)
        super().__init__(reading, labels or Labels(), Policy(**policy))


def table_files(
    path: str | Sequence[str] | None, splits: Mapping[str, Any]
) -> tuple[dict[Path, str | None], SplitNames]:
    """The files that are meant, each with its split or None, and what splits are called within them.

    Raises:
        ValueError: if there is no such file, or one of no known kind.
    """
    said = {split: str(name) for split, name in splits.items() if name is not None}
    by_file = {split: name for split, name in said.items() if name.lower().endswith(TABLES)}
    names = SplitNames({split: name for split, name in said.items() if split not in by_file})
    if by_file:
        return {_table(existing(name)): split for split, name in by_file.items()}, names
    if not path:
        raise ValueError("data=table needs data.path=FILE (csv, tsv, jsonl or parquet), a glob, or a list.")
    files = [file for one in ([path] if isinstance(path, str) else path) for file in _expand(str(one))]
    called = {file: _split_of(file, names) for file in files}
    if len(files) > 1 and any(called.values()):
        strange = [file for file, split in called.items() if split is None]
        if strange:
            raise ValueError(
                f"{strange[0]} stands among files that are splits ({_listed(called)}) and is none; leave it "
                "out of data.path, or name each split's file, such as data.splits.train=FILE."
            )
        return called, names
    return dict.fromkeys(files), names


def _expand(path: str) -> list[Path]:
    if os.path.exists(os.path.expanduser(path)):
        place = existing(path)
        if place.is_file():
            return [_table(place)]
        files = sorted(file for file in place.iterdir() if file.suffix.lower() in TABLES)
        files = [Path(inside(place, file.name, str(place))) for file in files]
        if not files:
            raise ValueError(f"{place} holds no table ({', '.join(TABLES)}); files of media are data=folder.")
        return files
    found = sorted(glob.glob(os.path.expanduser(path), recursive=True))
    if found:
        return [_table(Path(file)) for file in found]
    if any(sign in path for sign in "*?["):
        raise ValueError(f"data.path={path} matches no file (seen from {Path.cwd()}).")
    return [existing(path)]  # raises


def _table(path: Path) -> Path:
    if path.suffix.lower() not in TABLES:
        raise ValueError(f"{path} is no table that is read: {', '.join(TABLES)}.")
    return path.resolve()


def _split_of(file: Path, names: SplitNames) -> str | None:
    """By the first word of its name: `train-00000-of-00002.parquet` is train."""
    word = file.stem.replace("_", "-").replace(".", "-").split("-")[0]
    return names.canonical(word, str(file)) if word in names else None


def _listed(called: Mapping[Path, str | None]) -> str:
    return ", ".join(file.name for file, split in called.items() if split)

"""Folders of files as people keep them: class folders, split folders, files beside a metadata table."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from unimodal.data.decoding.encoded import Encoded
from unimodal.data.decoding.texts import decode_text
from unimodal.data.sources.columns import MEDIA, Columns
from unimodal.data.sources.files import Files
from unimodal.data.sources.labels import Labels
from unimodal.data.sources.layout import Found, classify
from unimodal.data.sources.mask_folders import read_mask_folders
from unimodal.data.sources.metadata import read_metadata
from unimodal.data.sources.paths import EXTENSIONS, TABLES, existing, field_of
from unimodal.data.sources.policy import Policy
from unimodal.data.sources.reading import Reading
from unimodal.data.sources.row_source import RowSource
from unimodal.data.sources.rows import MediaRows
from unimodal.data.sources.scan import Scan, is_remark, numbered
from unimodal.data.sources.splits import SplitNames
from unimodal.data.sources.tables import Table

LABEL_HINT = (
    "put the files into one folder a class, or name file_name and label in a metadata.csv beside them"
)


class FolderSource(RowSource):
    """A folder of files.

    Understood are, each with or without split folders above it (train, val, test and their usual other
    names): class folders with files at any depth; files beside a `metadata.csv|tsv|jsonl|parquet` with a
    `file_name` column; `images` beside `masks`; text files alone, to model language. Hidden files are not
    looked at; what else is not read is counted in the notes. Files are taken in the order of their names.

    Args:
        path: the folder, or one text file, whose end becomes val.
        modality: image, audio, video or text, where the folder holds several kinds.
        splits: what the folder of a split is called, such as {"test": "holdout"}.
        columns: of a metadata table, as for tables.
        labels: how labels are read.
        allow_outside_root: follow links and names out of the folder.
        policy: see `Policy`.
    """

    def __init__(
        self,
        path: str,
        modality: str | None = None,
        splits: Mapping[str, str | None] | None = None,
        columns: Mapping[str, Any] | None = None,
        labels: Labels | None = None,
        allow_outside_root: bool = False,
        **policy: Any,
    ):
        place, names = existing(path), SplitNames(splits)
        if place.is_file():
            reading = _text_file(place, Policy(**policy).val_fraction)
        elif listed := read_metadata(place, names, columns or {}, allow_outside_root):
            reading = listed
        elif masked := read_mask_folders(place, names, allow_outside_root):
            reading = masked
        else:
            labels = _names_as_they_are(labels or Labels())
            reading = read_folder(place, modality, names, Policy(**policy).val_fraction, allow_outside_root)
        super().__init__(reading, labels or Labels(), Policy(**policy))


def read_folder(
    root: Path,
    modality: str | None = None,
    names: SplitNames | None = None,
    val_fraction: float | None = 0.1,
    allow_outside: bool = False,
) -> Reading:
    """The media files below a folder; raises ValueError if there are none, or of several kinds."""
    if modality is not None and modality not in MEDIA:
        raise ValueError(f"data.modality={modality} is none of {', '.join(MEDIA)}.")
    scan = Scan(root, allow_outside)
    every = list(classify(scan, names or SplitNames()))
    field = _one_kind(every, modality, scan)
    found = [file for file in every if file.field == field]
    if field == "text" and len(found) == 1 and found[0].label is None:
        return _text_file(root / found[0].name, val_fraction)
    values = {"file": [file.name for file in found]}
    labelled = any(file.label is not None for file in found)
    table = Files(
        root, values | ({"label": [file.label for file in found]} if labelled else {}), scan.problems
    )
    columns = Columns({field: "file"}, ["label"] if labelled else [])
    samples = MediaRows(table, columns.media, text_files=True, allow_outside=allow_outside)
    others = Counter(file.field for file in every if file.field != field and not is_remark(file.name))
    notes = [f"left out: {numbered(others)}; read are the {field} files (data.modality)"] if others else []
    return Reading(samples, columns, [file.split for file in found], scan.notes() + notes, LABEL_HINT)


def _names_as_they_are(labels: Labels) -> Labels:
    """A folder's name is a class, also where it looks like a number."""
    return replace(labels, kind="class") if labels.kind == "auto" and not labels.separator else labels


def _one_kind(found: list[Found], modality: str | None, scan: Scan) -> str:
    counts = Counter(file.field for file in found)
    if modality and counts[modality]:
        return modality
    media = [field for field in counts if field != "text"]
    if modality is None and len(media) == 1:
        return media[0]  # text files beside media are remarks
    if modality is None and not media and counts:
        return "text"
    if not counts:
        known = " ".join(sorted(EXTENSIONS["image"] | EXTENSIONS["audio"] | EXTENSIONS["video"]))
        there = "; ".join([*scan.problems[:3], *scan.notes()]) or "it is empty"
        raise ValueError(f"{scan.root} holds no file that is read ({there}). Read are .txt {known}.")
    listed = ", ".join(f"{count} {field}" for field, count in counts.most_common())
    if modality:
        most = counts.most_common(1)[0][0]
        raise ValueError(f"{scan.root} holds no {modality} files, but {listed}; set modality={most}.")
    raise ValueError(f"{scan.root} holds files of several kinds ({listed}); set data.modality={media[0]}.")


def _text_file(path: Path, val_fraction: float | None) -> Reading:
    """One text: its end is held out, cut at the end of a line."""
    if field_of(path.name) != "text":
        kind = "data=table" if path.suffix.lower() in TABLES else "the folder it is in"
        raise ValueError(
            f"data.path={path} is a file; for data=folder name a folder or a .txt file, else {kind}."
        )
    text = decode_text(Encoded(path=str(path)))
    if val_fraction is None:
        return _texts(path, [text], ["val"], [])
    if not 0 < val_fraction < 1:
        raise ValueError(f"data.val_fraction={val_fraction} is not between 0 and 1.")
    about = round(len(text) * (1 - val_fraction))
    cut = text.find("\n", about, len(text) - 1) + 1 or about
    held = f"val: the last {1 - cut / max(len(text), 1):.0%} of the text (data.val_fraction={val_fraction})"
    return _texts(path, [text[:cut], text[cut:]], ["train", "val"], [held])


def _texts(path: Path, texts: list[str], splits: list[str | None], notes: list[str]) -> Reading:
    columns = Columns({"text": "text"})
    return Reading(MediaRows(Table(str(path), {"text": texts}), columns.media), columns, splits, notes)

"""Which column holds what: as the user says, else guessed where only one can be meant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from unimodal.data.sources.paths import field_of
from unimodal.data.sources.tables import Rows
from unimodal.suggestions import nearest

MEDIA = ("image", "audio", "video", "text")
NAMES = {  # the first name wins where it stands among others
    "image": ("image", "img", "image_path", "image_file", "picture", "photo", "pixel_values"),
    "audio": ("audio", "audio_path", "audio_file", "sound", "speech", "wav", "recording"),
    "video": ("video", "video_path", "video_file", "clip"),
    "text": ("text", "sentence", "question", "content", "review", "document", "utterance", "prompt"),
    "label": ("label", "labels", "class", "category", "target", "y", "fine_label", "coarse_label"),
    "split": ("split", "subset", "partition"),
    "id": (),  # only where it is said: a column called id is often a mere count of rows
}
FILES = ("file_name", "filename", "file", "path", "filepath", "file_path")


@dataclass(frozen=True)
class Columns:
    """The columns of one set of rows.

    Attributes:
        media: by the sample's field.
        label: one column, several for several numbers, or none.
        split: or None.
        id: or None.
        guessed: what was not said, by role, to be shown.
        text_files: whether the text column holds names of text files instead of text.
    """

    media: Mapping[str, str]
    label: Sequence[str] = ()
    split: str | None = None
    id: str | None = None
    guessed: Mapping[str, str] = field(default_factory=dict)
    text_files: bool = False


def choose(rows: Rows, said: Mapping[str, Any], name: str, key: str = "data.columns") -> Columns:
    """Settle the columns.

    Args:
        rows: whose columns.
        said: `data.columns`: a column by role, a list of columns for `label`, `none` for no such column.
        name: of the data, for messages.
        key: what the user sets to say it.

    Raises:
        ValueError: if a named column is missing, or nothing can be read; names the columns there are.
    """
    chosen: dict[str, Any] = {role: column for role, column in said.items() if column is not None}
    _check_said(chosen, rows.column_names, name)
    guessed = {}
    for role in (*MEDIA, "label", "split"):
        if role not in chosen and (column := _guess(role, rows.column_names, name)):
            guessed[role] = column
    if not any(role in chosen or role in guessed for role in ("image", "audio", "video")):
        guessed |= _guess_files(rows, taken=set(chosen))
    if any(role in chosen or role in guessed for role in ("image", "audio", "video")):
        guessed.pop("text", None)  # a remark on the medium; who wants both says so
    both = {role: column for role, column in (guessed | chosen).items() if column != "none"}
    media = {role: both[role] for role in MEDIA if role in both}
    if not media:
        raise ValueError(
            f"{name} has no column that can be read; it has {', '.join(rows.column_names) or 'none'}. "
            f"Say which it is, such as {key}.text=NAME or {key}.image=NAME."
        )
    label = both.get("label", [])
    labels = [label] if isinstance(label, str) else list(label)
    text_files = media.get("text", "").lower() in FILES
    return Columns(media, labels, both.get("split"), both.get("id"), guessed, text_files)


def _check_said(chosen: Mapping[str, Any], names: Sequence[str], name: str) -> None:
    for role, column in chosen.items():
        if role not in NAMES:
            raise ValueError(f"data.columns.{role} is unknown; there are {', '.join(NAMES)}.")
        for one in [column] if isinstance(column, str) else column:
            if one != "none" and one not in names:
                raise ValueError(
                    f"{name} has no column {one!r}{nearest(one, names)} It has {', '.join(names)}; "
                    f"set data.columns.{role}."
                )


def _guess(role: str, names: Sequence[str], name: str) -> str | None:
    known = NAMES[role]
    found = [column for column in names if column.strip().lower() in known]
    if len(found) > 1 and known[0] in found:
        return known[0]
    if len(found) > 1 and role == "label":
        raise ValueError(
            f"{name} has several columns that may be the label: {', '.join(found)}. "
            f"Choose one with data.columns.label={found[0]}."
        )
    return found[0] if len(found) == 1 else None


def _guess_files(rows: Rows, taken: set[str]) -> dict[str, str]:
    """A column of file names, and which field their extension means."""
    for column in rows.column_names:
        if column.lower() in FILES and len(rows):
            first = rows.row(0)[column]
            field = field_of(first) if isinstance(first, str) else None
            if field and field not in taken:
                return {field: column}
    return {}

"""Which column holds what: as the user says, else guessed where only one can be meant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from unimodal.data.sources.paths import field_of
from unimodal.data.sources.tables import Rows
from unimodal.suggestions import nearest

MEDIA = ("image", "audio", "video", "text")
NAMES = {  # the first name wins where it stands among others
    "image": ("image", "images", "img", "image_path", "image_file", "picture", "photo", "pixel_values"),
    "audio": ("audio", "audio_path", "audio_file", "sound", "speech", "wav", "recording"),
    "video": ("video", "video_path", "video_file", "clip"),
    "parts": ("parts",),  # lists of several media in any order, instead of the others
    "text": ("text", "sentence", "question", "content", "review", "document", "utterance", "prompt"),
    "prompt": (),  # only where it is said: what is asked of the medium, beside a text that answers
    "label": ("label", "labels", "class", "category", "target", "y", "fine_label", "coarse_label"),
    "mask": ("mask", "masks", "mask_path", "mask_file", "annotation", "segmentation"),
    "tokens": ("tokens", "words"),
    "tags": ("tags", "ner_tags"),
    "segments": ("segments",),
    "split": ("split", "subset", "partition"),
    "id": (),  # only where it is said: a column called id is often a mere count of rows
}
REGIONS = {"mask": "image", "tags": "tokens", "segments": "audio"}  # labels of what another column holds
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
        regions: labels of pixels, words or stretches of sound, by role; `tokens` where text is words.
    """

    media: Mapping[str, str]
    label: Sequence[str] = ()
    split: str | None = None
    id: str | None = None
    guessed: Mapping[str, str] = field(default_factory=dict)
    text_files: bool = False
    regions: Mapping[str, str] = field(default_factory=dict)

    @property
    def spread(self) -> list[str]:
        """Columns of media in which a list is several samples; a list of words or parts is one."""
        one = (self.regions.get("tokens"), self.media.get("parts"))
        return [column for column in self.media.values() if column not in one]


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
    _check_said(chosen, rows.column_names, name, key)
    guessed, taken = {}, {column for column in chosen.values() if isinstance(column, str)}
    free = [column for column in rows.column_names if column not in taken]
    for role in ("parts", *MEDIA, "label", "split", "tokens", *REGIONS):
        if role not in chosen and (column := _guess(role, free, name)):
            guessed[role] = column
    if any(chosen.get(role, "none") != "none" for role in MEDIA):
        guessed.pop("parts", None)  # they hold all media, or another thing is called so
    if not any(role in chosen or role in guessed for role in ("image", "audio", "video")):
        guessed |= _guess_files(rows, taken=set(chosen))
    if any(role in chosen or role in guessed for role in ("image", "audio", "video")):
        guessed.pop("text", None)  # a remark on the medium; who wants both says so
    both = {role: column for role, column in (guessed | chosen).items() if column != "none"}
    regions = _regions(both, guessed)
    if "tokens" in regions:
        both["text"] = regions["tokens"]
    media = {role: both[role] for role in (*MEDIA, "prompt") if role in both}
    if "parts" in both:
        media = _parts_alone(both, chosen, guessed, key)
    if not media.keys() - {"prompt"}:
        raise ValueError(
            f"{name} has no column that can be read; it has {', '.join(rows.column_names) or 'none'}. "
            f"Say which it is, such as {key}.text=NAME or {key}.image=NAME."
        )
    label = both.get("label", [])
    labels = [label] if isinstance(label, str) else list(label)
    text_files = media.get("text", "").lower() in FILES
    return Columns(media, labels, both.get("split"), both.get("id"), guessed, text_files, regions)


def _parts_alone(
    both: Mapping[str, Any], chosen: Mapping[str, Any], guessed: dict[str, str], key: str
) -> dict[str, str]:
    """The column of parts; a medium that is said must not stand beside it, one that is guessed gives way."""
    said = next((role for role in MEDIA if chosen.get(role, "none") != "none"), None)
    if said:
        raise ValueError(f"{key}.{said} stands beside parts, which hold all media; set {key}.parts=none.")
    for role in MEDIA:
        guessed.pop(role, None)
    return {"parts": both["parts"]}


def _regions(both: Mapping[str, Any], guessed: dict[str, str]) -> dict[str, str]:
    """Labels of regions whose medium is there, and lists of words; what was guessed in vain is taken out."""
    regions = {role: both[role] for role, of in REGIONS.items() if role in both and of in both}
    if "tokens" in both and ("tags" in regions or "text" not in both):
        regions["tokens"] = both["tokens"]
    for role in ("tokens", *REGIONS):
        if role not in regions:
            guessed.pop(role, None)
    return regions


def _check_said(chosen: Mapping[str, Any], names: Sequence[str], name: str, key: str) -> None:
    for role, column in chosen.items():
        if role not in NAMES:
            raise ValueError(f"{key}.{role} is unknown; there are {', '.join(NAMES)}.")
        for one in [column] if isinstance(column, str) else column:
            if one != "none" and one not in names:
                raise ValueError(
                    f"{name} has no column {one!r}{nearest(one, names) or '.'} It has {', '.join(names)}; "
                    f"set {key}.{role}."
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

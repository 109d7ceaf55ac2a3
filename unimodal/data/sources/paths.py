"""Which files a data set may name: those under its own folder."""

import os
from pathlib import Path

from unimodal.data.decoding.encoded import BadSample
from unimodal.suggestions import nearest

EXTENSIONS = {
    "image": {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
    | {".heic", ".heif", ".avif", ".svg"},  # named so that their error is clear
    "audio": {
        ".wav",
        ".flac",
        ".ogg",
        ".oga",
        ".opus",
        ".mp3",
        ".m4a",
        ".aac",
        ".wma",
        ".aif",
        ".aiff",
        ".au",
    },
    "video": {
        ".mp4",
        ".m4v",
        ".mov",
        ".avi",
        ".mkv",
        ".webm",
        ".mpg",
        ".mpeg",
        ".wmv",
        ".flv",
        ".3gp",
        ".ts",
    },
    "text": {".txt"},
}
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".conll")


def field_of(name: str) -> str | None:
    """The sample's field that a file's extension means, or None."""
    extension = os.path.splitext(name)[1].lower()
    return next((field for field, known in EXTENSIONS.items() if extension in known), None)


def existing(path: str | Path, key: str = "data.path") -> Path:
    """The path, absolute; `key` is what the user set.

    Raises:
        ValueError: if there is nothing there; names the nearest that is.
    """
    place = Path(path).expanduser()
    if place.exists():
        return place.resolve()
    parent = place.parent
    names = [entry.name for entry in parent.iterdir()] if parent.is_dir() else []
    raise ValueError(f"{key}={path} does not exist{nearest(place.name, names)} (seen from {Path.cwd()}).")


def inside(root: Path, name: str, where: str, allow_outside: bool = False, start: Path | None = None) -> str:
    """A file's absolute path, links resolved.

    Args:
        root: the data set's folder, resolved.
        name: as the data set says it.
        where: what says it, for the message.
        allow_outside: `data.allow_outside_root`.
        start: the folder that the name is relative to; by default the root.

    Raises:
        BadSample: if it is a URL, or lies outside the root, directly or through a link.
    """
    if "://" in name or name.startswith("file:"):
        raise BadSample(f"{where}: {name} is a URL; download it and name the file.")
    if "\0" in name:
        raise BadSample(f"{where}: {name!r} is no file name.")
    try:
        path = ((start or root) / name).resolve()
    except (OSError, RuntimeError) as error:  # a loop of links
        raise BadSample(f"{where}: {name} cannot be followed ({error}).") from error
    if not allow_outside and not path.is_relative_to(root):
        raise BadSample(
            f"{where}: {name} lies outside {root}; data.allow_outside_root=true would allow that."
        )
    return str(path)

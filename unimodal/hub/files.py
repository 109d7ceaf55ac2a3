"""Files of a folder that somebody else wrote: plain ones, inside it, of a bounded size."""

import os
from collections.abc import Sequence
from pathlib import Path


def plain_file(folder: Path, name: str, also: Sequence[Path] = ()) -> Path | None:
    """Where a file of the folder really lies, None if there is none.

    Args:
        folder: resolved.
        name: of the file; a path is refused.
        also: other resolved folders that a link may lead to.

    Raises:
        ValueError: if the name or a link leads out of the folder, or it is no plain file: opening a pipe or a
            device may block for ever.
    """
    if Path(name).name != name or name in ("", "..") or "\\" in name or "\0" in name:
        raise ValueError(f"{folder} names the file {name!r}, which is a path out of it or none at all.")
    path = folder / name
    if not os.path.lexists(path):
        return None
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:  # nothing there, or links in a circle
        raise ValueError(f"{path} is a link that leads nowhere.") from error
    if not any(real.is_relative_to(place) for place in (folder, *also)):
        raise ValueError(f"{path} is a link out of its folder, to {real}; put a copy of the file there.")
    if not real.is_file():
        raise ValueError(f"{path} is no plain file.")
    return real


def read_text(path: Path, name: str, limit: int) -> str:
    """The text of a file.

    Args:
        path: of the file.
        name: in error messages.
        limit: bytes; a larger file is refused unread.

    Raises:
        ValueError: if it cannot be read, is too large or not UTF-8.
    """
    try:
        size = path.stat().st_size
        if size > limit:
            raise ValueError(f"{name} has {size:,} bytes; at most {limit:,} are read.")
        return path.read_bytes().decode()  # keeps the ends of lines
    except OSError as error:
        raise ValueError(f"{name} cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8 at byte {error.start:,}.") from error

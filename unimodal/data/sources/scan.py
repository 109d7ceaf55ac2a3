"""Walking a folder: what media files there are, in the order of their names, and what is not read."""

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from unimodal.data.decoding.encoded import BadSample
from unimodal.data.sources.paths import TABLES, field_of, inside

JUNK = ("thumbs.db", "desktop.ini", "__macosx")
REMARKS = ("license", "readme")


class Scan:
    """Reads a folder's names, opens no file. Follows links within the root, notes loops and ways out.

    Args:
        root: the data set's folder, resolved.
        allow_outside: follow links out of it.
        known: files that are read in another way, such as tables.

    Attributes:
        problems: files that are there but cannot be read, each with the reason.
        ignored: how many files of which extension are no media.
    """

    def __init__(self, root: Path, allow_outside: bool = False, known: Collection[Path] = ()):
        self.root, self.allow_outside = root, allow_outside
        self.known = {str(path) for path in known}
        self.problems: list[str] = []
        self.ignored: Counter[str] = Counter()

    def folders(self, folder: Path) -> list[str]:
        """Names of the folders in a folder, sorted, hidden ones left out."""
        return [entry.name for entry in self._entries(folder) if entry.is_dir()]

    def files(self, folder: Path) -> list[str]:
        """Names of the media files right in a folder, sorted."""
        return [name for name in self._media(folder) if field_of(name)]

    def count_others(self, folder: Path) -> None:
        """Count the files right in a folder that are no media; `walk` does so on its way."""
        for name in self._media(folder):
            if not field_of(name):
                self._ignore(name)

    def walk(self, folder: Path, above: tuple[Path, ...] = ()) -> Iterator[str]:
        """All media files below, relative to the root with `/`, in the order of names at each level."""
        here = folder.resolve()
        if here in above:
            self.problems.append(f"{folder}: a loop of links")
            return
        for entry in self._entries(folder):
            path = folder / entry.name
            name = path.relative_to(self.root).as_posix()
            try:
                if entry.is_symlink():
                    inside(self.root, name, str(path), self.allow_outside)
                if entry.is_dir():
                    yield from self.walk(path, (*above, here))
                elif field_of(entry.name) and not entry.is_file():
                    self.problems.append(f"{path}: is not a regular file" + _broken(entry))
                elif field_of(entry.name):
                    yield name
                elif str(path) not in self.known:
                    self._ignore(entry.name)
            except (BadSample, OSError) as error:
                self.problems.append(
                    str(error) if isinstance(error, BadSample) else f"{path}: {error.strerror}"
                )

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self.problems.append(f"{folder}: {(error.strerror or str(error)).lower()}")
            return []
        return [e for e in found if not e.name.startswith(".") and e.name.lower() not in JUNK]

    def _media(self, folder: Path) -> list[str]:
        return [entry.name for entry in self._entries(folder) if not entry.is_dir()]

    def _ignore(self, name: str) -> None:
        if not is_remark(name):
            self.ignored[os.path.splitext(name)[1].lower() or name] += 1

    def notes(self) -> list[str]:
        """What was left out, for the user."""
        if not self.ignored:
            return []
        kinds = ", ".join(f"{count} {extension}" for extension, count in self.ignored.most_common(6))
        tables = any(extension in TABLES for extension in self.ignored)
        hint = " (read tables with data=table)" if tables else ""
        return [f"files of no kind that is read: {kinds}{hint}"]


def is_remark(name: str) -> bool:
    """Whether a file describes the data instead of being a part of it."""
    return field_of(name) in (None, "text") and name.rpartition("/")[2].lower().startswith(REMARKS)


def numbered(kinds: Mapping[str, int]) -> str:
    """Files by kind, such as `3 image files and 1 audio file`."""
    return " and ".join(f"{num:,} {kind} file{'s' * (num != 1)}" for kind, num in sorted(kinds.items()))


def _broken(entry: os.DirEntry[str]) -> str:
    return " (a broken link)" if entry.is_symlink() else ""

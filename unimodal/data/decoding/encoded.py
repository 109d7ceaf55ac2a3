"""Media before decoding: a file or its bytes, and the name that every message about it bears."""

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

ENDS = 1 << 18  # bytes at either end that the digest of a file reads


class BadSample(ValueError):
    """An input that cannot be used. The message opens with the file (and row) and says why."""


@dataclass(frozen=True)
class Encoded:
    """One of `path` and `data`; cheap to make, to pickle and to compare. Nothing is opened before it is read.

    Attributes:
        path: of a file; whoever makes this has checked that it lies where it may.
        data: the file's bytes.
        where: what messages call it, such as `metadata.csv row 12`; by default the path.
    """

    path: str | None = None
    data: bytes | None = None
    where: str = ""

    @property
    def name(self) -> str:
        """For messages: where it is from, and the file."""
        return ": ".join(dict.fromkeys(part for part in (self.where, self.path) if part)) or "bytes"

    def bad(self, reason: str) -> BadSample:
        """The error that says so about this input."""
        return BadSample(f"{self.name}: {reason}")

    def size(self) -> int:
        """In bytes.

        Raises:
            BadSample: if there is no regular file that may be read, or it is empty.
        """
        if self.data is not None:
            size = len(self.data)
        else:
            assert self.path is not None
            try:
                status = os.stat(self.path)
            except OSError as error:
                raise self.bad(_reason(error)) from error
            if not stat.S_ISREG(status.st_mode):
                raise self.bad("is not a regular file")
            if not os.access(self.path, os.R_OK):
                raise self.bad("may not be read (permission denied)")
            size = status.st_size
        if not size:
            raise self.bad("is empty (0 bytes)")
        return size

    def read(self, limit: int | None = None) -> bytes:
        """The bytes, or the first `limit` of them; raises BadSample as `size` does."""
        self.size()
        if self.data is not None:
            return self.data[:limit]
        assert self.path is not None
        try:
            with open(self.path, "rb") as file:
                return file.read(-1 if limit is None else limit)
        except OSError as error:
            raise self.bad(_reason(error)) from error

    def digest(self) -> str:
        """Of the content, wherever it lies: its size, and `ENDS` bytes at either end."""
        size = self.size()
        if self.data is not None:
            head, tail = self.data[:ENDS], self.data[max(size - ENDS, ENDS) :]
        else:
            head, tail = self._ends(size)
        return hashlib.blake2b(b"%d/" % size + head + tail, digest_size=16).hexdigest()

    def changed(self) -> str:
        """When a file was last written, if the digest saw but its ends; else nothing."""
        if self.path is None or self.size() <= 2 * ENDS:
            return ""
        return str(os.stat(self.path).st_mtime_ns)

    def _ends(self, size: int) -> tuple[bytes, bytes]:
        try:
            with open(Path(self.path or ""), "rb") as file:
                head = file.read(ENDS)
                file.seek(max(size - ENDS, ENDS))
                return head, file.read(ENDS)
        except OSError as error:
            raise self.bad(_reason(error)) from error


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()

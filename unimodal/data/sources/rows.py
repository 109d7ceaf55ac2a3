"""Rows as samples: columns by field, paths checked, nothing opened before it is read."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unimodal.data.decoding.encoded import BadSample, Encoded
from unimodal.data.sources.paths import inside
from unimodal.data.sources.tables import Rows
from unimodal.types import Sample


class MediaRows:
    """Rows as samples without labels: text as it is, media as `Encoded`, not opened yet.

    Args:
        rows: where the values stand.
        media: columns by the sample's field.
        root: under which file names are looked up, resolved.
        allow_outside: let files lie elsewhere.
    """

    def __init__(self, rows: Rows, media: Mapping[str, str], root: Path, allow_outside: bool = False):
        self.rows, self.media, self.root, self.allow_outside = rows, media, root, allow_outside
        self.digests: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        """Raises BadSample for a value that is missing or a path that may not be read."""
        row, where, folder = self.rows.row(index), self.rows.where(index), self.rows.folder(index)
        return {field: self._value(field, row[column], where, folder) for field, column in self.media.items()}

    def key(self, index: int) -> str:
        """What the row is, whatever it is called: a digest of its content; raises BadSample."""
        if index not in self.digests:
            self.digests[index] = self._digest(index)
        return self.digests[index]

    def _digest(self, index: int) -> str:
        parts = []
        for value in self[index].values():
            if isinstance(value, Encoded):
                parts.append(value.digest())
            else:
                data = (
                    value.encode("utf-8", "surrogatepass") if isinstance(value, str) else repr(value).encode()
                )
                parts.append(hashlib.blake2b(data, digest_size=16).hexdigest())
        return "/".join(parts)

    def _value(self, field: str, value: Any, where: str, folder: str) -> Any:
        data, name = _parts(value)
        if data is None and name is None:
            raise BadSample(f"{where}: has no {field}.")
        if data is not None:
            return Encoded(data=data, where=where + (f" ({name})" if name else ""))
        if field == "text" and not self._is_text_file(name, folder):
            if not isinstance(name, str):
                raise BadSample(f"{where}: has {type(name).__name__} where text is wanted.")
            return name
        if not isinstance(name, str):
            return name  # decoded already: an array, a picture
        path = inside(
            self.root, f"{folder}/{name}" if folder not in ("", ".") else name, where, self.allow_outside
        )
        return Encoded(path=path, where="" if where in (name, path) else where)

    def _is_text_file(self, name: Any, folder: str) -> bool:
        short = isinstance(name, str) and name.endswith(".txt") and len(name) < 1024 and "\n" not in name
        return short and (self.root / folder / name).is_file()


class RowSamples(Sequence[Sample]):
    """A split's samples: media not decoded, label encoded.

    Args:
        samples: all rows.
        indices: those of the split.
        label: from a row's index to its label, or None.
    """

    def __init__(self, samples: MediaRows, indices: Any, label: Any = None):
        self.samples, self.indices, self.label = samples, indices, label

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        row = self.row(index)
        sample = self.samples[row]
        return sample if self.label is None else sample | {"label": self.label(row)}

    def row(self, index: int) -> int:
        """The row that a sample is."""
        return int(self.indices[index])

    def keys(self) -> list[str]:
        """What each sample is, by its content; for one that can not be read, what messages call it."""
        return [self._key_or_place(index) for index in range(len(self))]

    def key(self, index: int) -> str:
        """What a sample is, by its content; raises BadSample."""
        return self.samples.key(self.row(index))

    def _key_or_place(self, index: int) -> str:
        try:
            return self.key(index)
        except BadSample:
            return self.where(index)

    def where(self, index: int) -> str:
        """How messages call a sample."""
        return self.samples.rows.where(self.row(index))


def _parts(value: Any) -> tuple[bytes | None, Any]:
    """Bytes, and a name or whatever else stands there."""
    if isinstance(value, bytes):
        return value, None
    if isinstance(value, dict) and ("bytes" in value or "path" in value) and "array" not in value:
        return value.get("bytes"), value.get("path")
    return None, value

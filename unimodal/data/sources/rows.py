"""Rows as samples: columns by field, paths checked, nothing opened before it is read."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

from unimodal.data.decoding.encoded import BadSample, Encoded
from unimodal.data.decoding.texts import decode_text
from unimodal.data.sources.part_lists import part_list
from unimodal.data.sources.paths import inside
from unimodal.data.sources.regions import Spans, sound_spans, word_spans, words_of
from unimodal.data.sources.tables import Rows
from unimodal.types import Sample


class MediaRows:
    """Rows as samples without labels: text as it is, media as `Encoded`, not opened yet.

    Args:
        rows: where the values stand.
        media: columns by the sample's field.
        text_files: the text column holds names of files.
        allow_outside: let files lie elsewhere than under the rows' root.
        regions: columns of labels of pixels, words and stretches of sound, by role.
    """

    def __init__(
        self,
        rows: Rows,
        media: Mapping[str, str],
        text_files: bool = False,
        allow_outside: bool = False,
        regions: Mapping[str, str] | None = None,
    ):
        self.rows, self.media, self.text_files, self.allow_outside = rows, media, text_files, allow_outside
        self.regions, self.digests = dict(regions or {}), dict[int, str]()
        self.allow_missing = False  # empty cells of media are left out

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        """Raises BadSample for a value that is missing or a path that may not be read."""
        row, where = self.rows.row(index), self.rows.where(index)
        media = {field: column for field, column in self.media.items() if not self._lacks(field, row[column])}
        if not media.keys() - {"prompt"}:
            raise BadSample(f"{where}: has none of {', '.join(self.media)}.")
        sample = {field: self._value(field, row[column], where, index) for field, column in media.items()}
        if "mask" in self.regions:
            sample["mask"] = self._value("mask", row[self.regions["mask"]], where, index)
        if self.regions.keys() & {"tags", "segments"}:
            sample["spans"] = self.spans(index)
        return sample

    def spans(self, index: int) -> Spans:
        """(start, end, label) of the row's words or stretches of sound; raises BadSample."""
        row, where = self.rows.row(index), self.rows.where(index)
        if "tags" in self.regions:
            words = words_of(row[self.regions["tokens"]], where)
            return word_spans(words, row[self.regions["tags"]], where)
        return sound_spans(row[self.regions["segments"]], where)

    def written_names(self) -> list[str]:
        """The file names of all rows as they are written; empty where a cell holds anything else.

        Files stored within a data set have names too, but to read these reads the files.
        """
        fields = [
            field
            for field in self.media
            if field not in ("prompt", "parts") and (field != "text" or self.text_files)
        ]
        column = self.media[fields[0]] if fields else None
        if column is None or not len(self) or not isinstance(self.rows.row(0)[column], str):
            return []
        values = self.rows.column(column)
        return values if all(isinstance(value, str) and value for value in values) else []

    def file_name(self, index: int) -> str | None:
        """The name of the row's first file, relative to the data's folder, with `/`; None without a file."""
        row, where = self.rows.row(index), self.rows.where(index)
        for field, column in self.media.items():
            if field == "prompt" or (field == "text" and not self.text_files):
                continue
            values = [one for _, one in part_list(row[column], where)] if field == "parts" else [row[column]]
            names = [name for _, name in map(_parts, values) if isinstance(name, str) and name.strip()]
            if names:
                root, start = self.rows.place(index)
                path = os.path.normpath(start / names[0])
                return path.removeprefix(f"{root}{os.sep}").replace(os.sep, "/")
        return None

    def key(self, index: int) -> str:
        """What the row is, whatever it is called: a digest of its content; raises BadSample."""
        if index not in self.digests:
            sample = self[index]
            values = _part_values(sample) or [_content(field, sample.get(field)) for field in self.media]
            self.digests[index] = "/".join(_digest(value) for value in values)
        return self.digests[index]

    def version(self, index: int) -> str:
        """Another one when the content is: the key, and when a file of which that saw a part was written."""
        sample = self[index]
        values = [*_part_values(sample), *sample.values()]
        changed = [value.changed() for value in values if isinstance(value, Encoded)]
        regions = [_digest(value) for field, value in sample.items() if field not in self.media]
        return "/".join([self.key(index), *changed, *regions])

    def _lacks(self, field: str, value: Any) -> bool:
        data, name = _parts(value)
        return self.allow_missing and field != "prompt" and data is None and _is_empty(name)

    def _value(self, field: str, value: Any, where: str, index: int) -> Any:
        if field == "prompt":
            return _checked_text("" if value is None else value, where)  # a sample may do without
        if field == "parts":
            return [{name: self._value(name, one, where, index)} for name, one in part_list(value, where)]
        data, name = _parts(value)
        if data is None and (name is None or (field != "text" and _is_empty(name))):
            enough = " (data.allow_missing=true: one medium is enough to classify)"
            more = enough if len(self.media) > 1 else ""
            raise BadSample(f"{where}: has no {field}{more}.")
        if data is not None:
            return Encoded(data=data, where=where + (f" ({name})" if name else ""))
        if field == "text" and "tokens" in self.regions:
            return " ".join(words_of(name, where))
        if field == "text" and not self.text_files:
            return _checked_text(name, where)
        if not isinstance(name, str):
            return name  # decoded already: an array, a picture
        root, start = self.rows.place(index)
        path = inside(root, name, where, self.allow_outside, start)
        return Encoded(path=path, where="" if where in (name, path) else where)


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _content(field: str, value: Any) -> Any:
    """Return what is digested of a field: of a text file its text, as of a table with the same text."""
    is_file = field == "text" and isinstance(value, Encoded)
    return decode_text(value, errors="replace") if is_file else value


def _part_values(sample: Sample) -> list[Any]:
    return [value for part in sample.get("parts", ()) for value in part.values()]


def _digest(value: Any) -> str:
    if isinstance(value, Encoded):
        return value.digest()
    data = value.encode() if isinstance(value, str) else repr(value).encode()
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _checked_text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise BadSample(f"{where}: has {type(value).__name__} where text is wanted.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadSample(f"{where}: character {error.start} is half of a surrogate pair.") from error
    return value


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

    def versions(self) -> list[str]:
        """What each sample is, by its content; for one that cannot be read, what messages call it."""
        return [self._version_or_place(index) for index in range(len(self))]

    def block_starts(self) -> list[int]:
        """Where a new block of rows that are read together begins."""
        blocks = [self.samples.rows.block(self.row(index)) for index in range(len(self))]
        return [index for index, block in enumerate(blocks) if index == 0 or block != blocks[index - 1]]

    def key(self, index: int) -> str:
        """What a sample is, by its content; raises BadSample."""
        return self.samples.key(self.row(index))

    def _version_or_place(self, index: int) -> str:
        try:
            return self.samples.version(self.row(index))
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

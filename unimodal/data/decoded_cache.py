"""Decoded media on the disk, memory-mapped, so that a second epoch does not pay for decoding."""

import hashlib
import json
import logging
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unimodal.types import Waveform

VERSION = 2  # of decoding: another one makes old files worthless
FIELDS = {"image": np.uint8, "video": np.uint8, "audio": np.float32}
log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """`UNIMODAL_CACHE`, else `unimodal/decoded` in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unimodal" / "decoded"
    return Path(os.environ.get("UNIMODAL_CACHE") or default)


class DecodedCache:
    """A file of equal slots, one a sample, filled as samples are first read; any number of processes may.

    An unfilled slot takes no disk. What cannot be stored (a full disk, a folder that may not be written) is
    decoded each time.

    Args:
        path: of the file.
        num_slots: samples.
        slot: values a slot: [3, H, W] pixels, [T, 3, H, W] pixels, or [S] samples of sound.
        dtype: of the values.
    """

    def __init__(self, path: Path, num_slots: int, slot: Sequence[int], dtype: Any = np.uint8):
        self.path, self.num_slots, self.slot, self.dtype = path, num_slots, tuple(slot), np.dtype(dtype)
        self.values: np.memmap | None = None
        self.notes: np.memmap | None = None  # for each slot: its length (0 = not filled), sample rate, crc32

    def get(self, index: int, make: Callable[[], Any]) -> Any:
        """The value of a slot, made and stored if it is not there yet."""
        if index >= self.num_slots or not self._open():
            return make()
        stored = self._read(index)
        if stored is not None:
            return stored
        value = make()
        try:
            self._write(index, value)
        except OSError as error:
            self._give_up(error)
        return value

    def _read(self, index: int) -> Any:
        assert self.values is not None and self.notes is not None
        length, rate, checksum = self.notes[index].tolist()
        if not length:
            return None
        stored = np.array(self.values[index][:length])
        if zlib.crc32(stored.data) != checksum:  # half written when a machine went down
            return None
        tensor = torch.from_numpy(stored)
        return Waveform(tensor, rate) if rate else tensor

    def _write(self, index: int, value: Any) -> None:
        """By pwrite: on a full disk it raises, where writing into mapped memory would kill the process."""
        data, rate = value if isinstance(value, Waveform) else (value, 0)
        if tuple(data.shape[1:]) != self.slot[1:] or not 0 < len(data) <= self.slot[0]:
            return
        array = np.ascontiguousarray(data.numpy().astype(self.dtype, copy=False))
        note = np.array([len(data), rate, zlib.crc32(array.data)], np.int64)
        for path, content, size in (
            (self.path, array, int(np.prod(self.slot)) * self.dtype.itemsize),
            (self.path.with_suffix(".notes"), note, note.nbytes),
        ):
            with open(path, "r+b", buffering=0) as file:
                os.pwrite(file.fileno(), content.tobytes(), index * size)

    def _open(self) -> bool:
        if self.values is None and self.num_slots:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.notes = _mapped(self.path.with_suffix(".notes"), np.int64, (self.num_slots, 3))
                self.values = _mapped(self.path, self.dtype, (self.num_slots, *self.slot))
            except OSError as error:
                self._give_up(error)
        return self.values is not None

    def _give_up(self, error: OSError) -> None:
        log.warning("decoded samples are not kept: %s cannot be written (%s)", self.path, error.strerror)
        self.num_slots, self.values = 0, None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"values": None, "notes": None}


def open_cache(
    field: str,
    preprocess: Any,
    keys: Sequence[str],
    max_gib: float,
    opened: dict[Path, int],
    folder: Path | None = None,
) -> DecodedCache | None:
    """The cache of a split's field, by content and settings; None where it holds no such media.

    Args:
        field: image, audio or video.
        preprocess: the tokenizer's: what decoding depends on.
        keys: of each sample's content.
        max_gib: room for all caches together; the least recently used go.
        opened: those of the same run, with the size that each may reach; this one is added.
        folder: of all caches.
    """
    slot = _slot(field, preprocess)
    if slot is None or not max_gib or not keys:
        return None
    place, dtype, limit = folder or cache_folder(), np.dtype(FIELDS[field]), int(max_gib * 2**30)
    said = json.dumps([VERSION, field, list(slot), repr(preprocess)])
    name = hashlib.blake2b("\n".join([said, *keys]).encode(), digest_size=16).hexdigest()
    path, slot_bytes = place / f"{name}.bin", int(np.prod(slot)) * dtype.itemsize
    num_slots = min(len(keys), max(limit - sum(opened.values()), 0) // slot_bytes)
    opened[path] = num_slots * slot_bytes
    try:
        _make_room(place, limit, opened)
    except OSError as error:  # another process is at it, or the folder is somebody else's
        log.warning("old decoded samples are left in %s (%s)", place, error.strerror)
    return DecodedCache(path, num_slots, slot, dtype)


def _slot(field: str, preprocess: Any) -> tuple[int, ...] | None:
    if field == "image" and callable(preprocess.image_size):  # each has a size of its own
        return None
    if field == "image":
        return (3, *preprocess.image_size)
    if field == "video":
        return (preprocess.num_frames, 3, *preprocess.image_size)
    if field == "audio":
        return (round(preprocess.max_seconds * preprocess.sample_rate),)
    return None


def _mapped(path: Path, dtype: Any, shape: tuple[int, ...]) -> np.memmap:
    """Opened for reading; made of zeros, which take no disk, if it is not there."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    with open(path, "ab") as file:
        if file.tell() < size:
            file.truncate(size)
    return np.memmap(path, dtype, "r", shape=shape)


def _make_room(folder: Path, limit: int, opened: Mapping[Path, int]) -> None:
    """Take away the files used longest ago, until all together may fill up without passing the limit."""
    if not folder.is_dir():
        return
    for path in opened:
        if path.exists():
            os.utime(path)
    others = sorted((file.stat().st_mtime, file) for file in folder.glob("*.bin") if file not in opened)
    sizes = {file: file.stat().st_size for _, file in others}
    for _, file in others:
        if sum(sizes.values()) + sum(opened.values()) <= limit:
            return
        del sizes[file]
        for part in (file, file.with_suffix(".notes")):
            part.unlink(missing_ok=True)

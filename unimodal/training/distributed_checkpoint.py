"""Checkpoints that FSDP2 writes as a folder of shards, read as data and in one process.

`.metadata` is a pickle that says where the pieces of each tensor lie, the `.distcp` files are one torch.save
behind another, and `meta.pt` holds what is not sharded. torch.distributed.checkpoint would run what the first
names. Here its classes are stand-ins that only keep what they are given; all else is loaded with
`weights_only=True`.
"""

import math
import pickle
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unimodal.hub.files import plain_file

INDEX, REST = ".metadata", "meta.pt"
WEIGHTS = "state_dict."

_METADATA = "torch.distributed.checkpoint.metadata"
_CLASSES = {
    *((_METADATA, name) for name in ("Metadata", "MetadataIndex", "StorageMeta", "_MEM_FORMAT_ENCODING")),
    *((_METADATA, f"{name}StorageMetadata") for name in ("Tensor", "Bytes", "Chunk")),
    (_METADATA, "TensorProperties"),
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    ("torch.serialization", "_get_layout"),
    ("pathlib", "PosixPath"),
    ("pathlib", "WindowsPath"),
    ("pathlib._local", "PosixPath"),  # Python 3.13
    ("pathlib._local", "WindowsPath"),
}


def is_sharded(path: Path) -> bool:
    """Whether a path is a checkpoint of this kind."""
    return (path / INDEX).is_file()


def read(folder: Path) -> dict[str, Any]:
    """What a single file would hold, but for the optimizer: `state_dict` in one piece, and the rest.

    Raises:
        ValueError: if a part is missing, or holds anything but plain data.
    """
    shards, content = _Shards(folder), read_rest(folder)
    names = [name for name in shards.tensors if name.startswith(WEIGHTS)]
    return content | {"state_dict": {name.removeprefix(WEIGHTS): shards.tensor(name) for name in names}}


def read_rest(folder: Path) -> dict[str, Any]:
    """What is not sharded: steps, loops, callbacks, config.

    Raises:
        ValueError: if it is missing, or not plain data.
    """
    content = _plain(_file(folder, REST).read_bytes(), REST)
    if not isinstance(content, dict):
        raise ValueError(f"its {REST} is no dict")
    return content


def check(folder: Path) -> None:
    """Make sure that torch may unpickle the folder, as it does when a run goes on from it.

    Raises:
        ValueError: if anything in it is not plain data.
    """
    shards = _Shards(folder)
    read_rest(folder)
    for (name, _), place in shards.places.items():
        _file(folder, place.relative_path)
        if name not in shards.tensors:  # tensors are read with weights_only=True by torch too
            _plain(shards.read(place), name)


class _StandIn:
    """In place of an object of torch: keeps its state, can do nothing."""

    def __init__(self, *args: Any):
        self.args = args

    def __setstate__(self, state: Any) -> None:  # so that a pickle cannot set attributes of the class either
        self.__dict__.update(state if isinstance(state, dict) else {"state": state})


class _Unpickler(pickle.Unpickler):
    """Knows the few names that torch.distributed.checkpoint writes, and imports none of them."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _CLASSES:
            return _StandIn
        if (module, name) == ("torch", "Size"):
            return tuple
        if module == "torch" and isinstance(vars(torch).get(name), torch.dtype):
            return name
        raise pickle.UnpicklingError(f"it names {module}.{name}")


class _Shards:
    """Where everything lies in the folder.

    Attributes:
        tensors: size and pieces of each tensor, by name.
        places: file, offset and length of each piece, by name and offset of the piece.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        try:
            with _file(folder, INDEX).open("rb") as file:
                index = _Unpickler(file).load()
            self.places: dict[tuple[str, tuple[int, ...] | None], Any] = {
                (key.fqn, vars(key).get("offset")): place for key, place in index.storage_data.items()
            }
            self.tensors = {n: e for n, e in index.state_dict_metadata.items() if hasattr(e, "chunks")}
        except Exception as error:  # a broken pickle raises anything
            raise ValueError(f"{INDEX} is no plain index of shards: {error}") from error

    def tensor(self, name: str) -> Tensor:
        """One tensor, its pieces put together."""
        size = self.tensors[name].size
        pieces = [(chunk.offsets, self._piece(name, chunk.offsets)) for chunk in self.tensors[name].chunks]
        if not pieces or sum(piece.numel() for _, piece in pieces) != math.prod(size):
            raise ValueError(f"{name} is not complete")
        whole = torch.empty(size, dtype=pieces[0][1].dtype)
        for offsets, piece in pieces:
            spot = whole[tuple(slice(o, o + n) for o, n in zip(offsets, piece.shape, strict=True))]
            if spot.shape != piece.shape:
                raise ValueError(f"{name} has a piece that lies outside of it")
            spot.copy_(piece)
        return whole

    def read(self, place: Any) -> bytes:
        """The bytes of one piece."""
        if vars(place).get("transform_descriptors"):
            raise ValueError("it is compressed; save it without extensions")
        with _file(self.folder, place.relative_path).open("rb") as file:
            file.seek(place.offset)
            return file.read(place.length)

    def _piece(self, name: str, offsets: tuple[int, ...]) -> Tensor:
        if (name, offsets) not in self.places:
            raise ValueError(f"{name} is not complete")
        piece = _plain(self.read(self.places[name, offsets]), name)
        if not isinstance(piece, Tensor):
            raise ValueError(f"{name} is no tensor")
        return piece


def _file(folder: Path, name: str) -> Path:
    path = plain_file(folder.resolve(), name)
    if path is None:
        raise ValueError(f"its {name} is missing")
    return path


def _plain(content: bytes, name: str) -> Any:
    try:
        return torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{name} is not plain data: {error}") from error

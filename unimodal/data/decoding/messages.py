"""Messages between a process and its decoder, over pipes: JSON and raw bytes, nothing that can hold code."""

import json
import struct
from typing import IO, Any

import numpy as np

MAX_HEADER = 2**20  # bytes
Answer = tuple[dict[str, Any], np.ndarray]
"""What the decoder found: a header for JSON, with `notes` to warn of, and values."""


class Unusable(Exception):
    """In the decoder: the file is what it should be, but cannot be used; the message says why."""


def send(pipe: IO[bytes], header: dict[str, Any], payload: Any = b"") -> None:
    """A message: the length of its header, the header as JSON, raw bytes."""
    data = json.dumps(header | {"num_bytes": memoryview(payload).nbytes}).encode()
    for part in (struct.pack("<I", len(data)) + data, payload):
        view = memoryview(part).cast("B")
        while view:
            view = view[pipe.write(view) :]


def receive(pipe: IO[bytes], limit: int) -> tuple[dict[str, Any], bytearray]:
    """The next message.

    Raises:
        EOFError: if the other end is gone.
        ValueError: if it is longer than `limit` bytes, or not a message.
    """
    (length,) = struct.unpack("<I", _exactly(pipe, 4, limit))
    header = json.loads(_exactly(pipe, length, MAX_HEADER))
    return header, _exactly(pipe, header["num_bytes"], limit)


def _exactly(pipe: IO[bytes], num: int, limit: int) -> bytearray:
    if not 0 <= num <= limit:
        raise ValueError(f"a message of {num} bytes")
    data = bytearray(num)
    view = memoryview(data)
    while view:
        got = pipe.readinto(view)  # type: ignore[attr-defined]  # IO is not told that it is raw
        if not got:
            raise EOFError
        view = view[got:]
    return data

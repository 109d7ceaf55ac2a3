"""The child process of `isolated.Isolated`: answers requests with what FFmpeg or Pillow make of a file."""

import importlib
import os
import resource
import select
import signal
import sys
from collections.abc import Callable
from io import BytesIO
from typing import IO, Any

import numpy as np

from unimodal.data.decoding.messages import Answer, Unusable, receive, send

PATIENCE = 2.0  # seconds between looks whether the parent is still there
GRACE = 5.0  # seconds after the timeout, in which the parent should have killed this process


def main() -> None:
    """Serve until the parent is gone: its pipe closed, or another process in its place."""
    if len(sys.argv) > 1:
        resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]), int(sys.argv[1])))
    with os.fdopen(os.dup(1), "wb", buffering=0) as out, os.fdopen(0, "rb", buffering=0) as requests:
        os.dup2(2, 1)  # what a library prints is not an answer
        parent = os.getppid()
        while os.getppid() == parent:
            if not select.select([requests], [], [], PATIENCE)[0]:
                continue
            try:
                request, data = receive(requests, sys.maxsize)
            except EOFError:
                return
            _serve(request, data, out)


def _serve(request: dict[str, Any], data: bytearray, out: IO[bytes]) -> None:
    signal.setitimer(signal.ITIMER_REAL, request["timeout"] + GRACE)  # SIGALRM ends even a hung decoder
    try:
        header, payload = _answer(request, data)
    except Unusable as error:
        header, payload = {"reason": str(error)}, np.empty(0)
    except MemoryError:
        header, payload = {"reason": "takes more memory than its decoder may have"}, np.empty(0)
    except ImportError as error:
        header, payload = {"error": f"its decoder is missing: pip install av; {error}"}, np.empty(0)
    except Exception as error:
        header, payload = {"error": _said(error)}, np.empty(0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    send(out, header, np.ascontiguousarray(payload))


def _said(error: Exception) -> str:
    """PyAV's errors end with what FFmpeg said last, which says most."""
    return " ".join(str(error).split()).rpartition("last error log: ")[2][:300] or type(error).__name__


def _answer(request: dict[str, Any], data: bytearray) -> Answer:
    file = request["path"] if request["path"] is not None else BytesIO(data)
    works: dict[str, Callable[[Any], Answer]] = {
        "clip": lambda reader: reader.read_clip(file, request["num_frames"], request["size"]),
        "video facts": lambda reader: reader.read_facts(file),
        "sound": lambda reader: reader.read_sound(file, request["max_seconds"]),
        "sound facts": lambda reader: reader.read_facts(file),
    }
    return works[request["do"]](_reader(request["do"], file))


def _reader(work: str, file: str | BytesIO) -> Any:
    """The module that reads the file; imported here, as PyAV may be missing, or break at import."""
    if work.startswith("sound"):
        return importlib.import_module("unimodal.data.decoding.av_sound")
    animations = importlib.import_module("unimodal.data.decoding.animations")
    if animations.is_animation(file):
        return animations
    return importlib.import_module("unimodal.data.decoding.av_frames")


if __name__ == "__main__":
    main()

"""Decoding in a child process, so that a crash, a hang or a bomb in a decoder costs one sample."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unimodal.data.decoding.encoded import Encoded
from unimodal.data.decoding.faults import one_line, warn_once, why
from unimodal.data.decoding.messages import receive, send

WORKER = (
    sys.executable,
    "-P",
    "-m",
    "unimodal.data.decoding.av_worker",
)  # -P: no module of the current folder
ROOT = str(Path(__file__).parents[3])  # where `unimodal` is found, installed or not
TIMEOUT = 30.0  # seconds
MEMORY_GIB = 6.0


class Isolated:
    """One child process that decodes; started at the first request, and again after it died or was killed.

    Threads take turns. A process that is forked from this one has a child of its own.

    Args:
        command: of the child, to which the memory limit in bytes is added.
        memory_gib: the most address space that the child may take.
    """

    def __init__(self, command: Sequence[str] = WORKER, memory_gib: float = MEMORY_GIB):
        self.command, self.memory = list(command), int(memory_gib * 2**30)
        self.lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        os.register_at_fork(after_in_child=self._forget)

    def ask(
        self, source: Encoded, wanted: str, request: dict[str, Any], timeout: float = TIMEOUT
    ) -> tuple[dict[str, Any], bytearray]:
        """The child's answer about `source`: a header, and raw bytes. Its notes are warned of, once each.

        Args:
            source: path or bytes; bytes are sent along.
            wanted: see `faults.guarded`.
            request: `do` names the work; the rest are its arguments.
            timeout: in seconds; the child is killed then.

        Raises:
            BadSample: for all that goes wrong.
        """
        source.size()  # it is there, a file and not empty
        path = None if source.path is None or source.data is not None else os.path.abspath(source.path)
        with self.lock:
            header, payload = self._exchange(source, request | {"path": path, "timeout": timeout}, timeout)
        if "error" in header:
            raise source.bad(why(source, wanted, header["error"]))
        if "reason" in header:
            raise source.bad(header["reason"])
        for note in header["notes"]:
            warn_once(source, note)
        return header, payload

    def close(self) -> None:
        """End the child, if there is one; the next request starts another."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self._drop_pipes()

    def _exchange(
        self, source: Encoded, request: dict[str, Any], timeout: float
    ) -> tuple[dict[str, Any], bytearray]:
        process = self._running(source)
        assert process.stdin is not None and process.stdout is not None
        late = threading.Event()
        timer = threading.Timer(timeout, _kill, (process, late))
        timer.start()
        try:
            send(process.stdin, request, source.data or b"")
            return receive(process.stdout, self.memory)
        except (OSError, EOFError, ValueError, MemoryError) as error:
            self.close()
            if late.is_set():
                raise source.bad(f"the decoder took longer than {timeout:g} s") from error
            raise source.bad(f"the decoder crashed (exit status {process.returncode})") from error
        except BaseException:  # Ctrl-C between question and answer
            self.close()
            raise
        finally:
            timer.cancel()

    def _running(self, source: Encoded) -> subprocess.Popen[bytes]:
        if self.process is None or self.process.poll() is not None:
            self._drop_pipes()
            try:
                self.process = self._start()
            except OSError as error:
                raise source.bad(f"the decoder cannot be started ({one_line(error)})") from error
        return self.process

    def _start(self) -> subprocess.Popen[bytes]:
        """One thread, as each worker of a loader has a child; its own session, as Ctrl-C is not for it."""
        known = os.environ.get("PYTHONPATH")
        env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (ROOT, known)))}
        env |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        return subprocess.Popen(
            [*self.command, str(self.memory)],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=env,
        )

    def _drop_pipes(self) -> None:
        if self.process is not None:
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe is not None:
                    pipe.close()
            self.process = None

    def _forget(self) -> None:
        """In a forked process: the child is the parent's, and a thread that is not here may hold the lock."""
        self.lock = threading.Lock()
        self._drop_pipes()


def _kill(process: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    process.kill()


DECODER = Isolated()
"""The one of this process."""

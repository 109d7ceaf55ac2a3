"""Training runs that a table compares: each is `unimodal train` in a process of its own, made once."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Hashable, Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[1]
CODE = ("unimodal", "tasks", "tokenizers", "conf")  # what a run depends on
LAST_LINES = 15  # of a failed run's log
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        folder: of the run; its name is that of the run.
        arguments: of `unimodal train`, without `output`.
        threads: of the CPU.
        jobs: runs at a time, to be recorded with the run.
    """

    folder: Path
    arguments: list[str]
    threads: int = 1
    jobs: int = 1

    @property
    def log(self) -> Path:
        """What the run prints."""
        return Path(f"{self.folder}.log")

    @property
    def record_file(self) -> Path:
        """Arguments and versions of the run, written before it starts."""
        return Path(f"{self.folder}.json")

    @property
    def metrics(self) -> Path:
        """Exists when the run is finished."""
        return self.folder / "metrics.json"

    def record(self) -> dict[str, Any]:
        """What `record_file` contains; empty where the run has not been started."""
        return _json(self.record_file) if self.record_file.exists() else {}

    def make(self) -> dict[str, Any]:
        """Return the metrics of the run, which is made if it is not finished.

        An interrupted run starts anew, because the time of its second half alone compares with nothing.

        Raises:
            ValueError: if it fails, or its folder contains another run.
        """
        before = self.record().get("arguments")
        if self.folder.exists() and before != self.arguments:
            raise ValueError(
                f"{self.folder} contains another run, of {before}; expected is one of {self.arguments}; "
                "set another --output DIR or remove the folder."
            )
        if not self.metrics.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            record = {"arguments": self.arguments, "threads": self.threads, "jobs": self.jobs}
            record |= {"code": commit(), "torch": version("torch")}
            self.record_file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
            self._train()
        return _json(self.metrics)

    def _train(self) -> None:
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONIOENCODING": "utf-8"}
        environment |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(self.threads))
        command = [sys.executable, "-m", "unimodal", "train", *self.arguments, f"output={self.folder}"]
        with self.log.open("wb") as log:
            done = subprocess.run(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        if done.returncode or not self.metrics.exists():
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
            text = "\n".join(f"    {line}" for line in lines)
            raise ValueError(
                f"{self.folder.name} failed, exit status {done.returncode}; {self.log} ends with\n{text}\n"
                "Finished runs are kept: mend the cause and start the same command again."
            )


def make_all(runs: Mapping[Key, Run], jobs: int) -> dict[Key, dict[str, Any]]:
    """Return the metrics of all runs, made in their order; after one that fails, no other one is started."""
    found: dict[Key, dict[str, Any]] = {}
    stopped = Event()

    def make(run: Run) -> dict[str, Any]:
        if stopped.is_set():
            raise CancelledError
        try:
            return run.make()
        except BaseException:
            stopped.set()  # here: this thread takes the next run before the main one hears of it
            raise

    with ThreadPoolExecutor(jobs) as pool:
        futures = {key: pool.submit(make, run) for key, run in runs.items()}
        try:
            for key, future in futures.items():  # a run is cancelled after one before it has failed
                found[key] = future.result()
                sys.stdout.write(f"{runs[key].folder.name}: {found[key]['seconds']:.0f} s\n")
                sys.stdout.flush()
        finally:
            stopped.set()  # Ctrl-C, which reaches the runs as well
    return found


def commit() -> str:
    """The commit of this checkout, and whether its code was changed since."""
    try:
        changed = bool(_git("status", "--porcelain", *CODE))
        return _git("rev-parse", "--short=9", "HEAD") + " with changes" * changed
    except (OSError, subprocess.CalledProcessError):  # no git, or no clone
        return "an unknown commit"


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _json(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))

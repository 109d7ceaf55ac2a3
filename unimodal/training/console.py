"""What is said to the user: on standard output, by the first process only."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lightning.pytorch.utilities import rank_zero_only
from tqdm import tqdm


@rank_zero_only
def say(text: str = "") -> None:
    """Write a line. A closed pipe (`unimodal train | head`) ends the talk, not the training."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115


def table(rows: dict[str, str]) -> str:
    """Two aligned columns."""
    width = max(len(name) for name in rows)
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in rows.items())


def is_terminal() -> bool:
    """Whether somebody watches: a bar is for them, not for a log file."""
    return sys.stdout.isatty() and sys.stderr.isatty()


@contextmanager
def progress(total: int, what: str) -> Iterator[Callable[[int], object]]:
    """A bar for whoever watches; the block calls what it gets with how many more are done."""
    with tqdm(total=total, desc=what, disable=not is_terminal()) as bar:
        yield bar.update

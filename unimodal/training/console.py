"""What is said to the user: on standard output, by the first process only."""

import os
import sys

from lightning.pytorch.utilities import rank_zero_only


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

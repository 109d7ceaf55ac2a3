"""The nearest valid name for a mistyped one."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint such as `; did you mean train?`, empty where nothing is near.

    Dotted names are also compared by their last part: `data.batch_size` finds `loader.batch_size`.
    """
    names = list(valid)
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    if not close:
        tails = {full.rpartition(".")[2]: full for full in reversed(names)}
        close = [tails[tail] for tail in get_close_matches(name.rpartition(".")[2], tails, n=1, cutoff=0.8)]
    return f"; did you mean {close[0]}?" if close else ""

"""The nearest valid name for a mistyped one."""

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches

OTHER_SECTION = 0.9  # what a name in another section counts, compared with one that is mistyped as a whole


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint such as `; did you mean train?`, empty where nothing is near.

    Dotted names are also compared by their last part: `data.batch_size` finds `loader.batch_size`. Of several
    with the same last part the first one counts.
    """
    names = list(valid)
    tail, tails = _last(name), {_last(full): full for full in reversed(names)}
    whole = {full: _likeness(name, full) for full in get_close_matches(name, names, n=1, cutoff=0.6)}
    parts = {
        tails[one]: OTHER_SECTION * _likeness(tail, one)
        for one in get_close_matches(tail, tails, n=1, cutoff=0.8)
    }
    close = parts | whole
    return f"; did you mean {max(close, key=close.__getitem__)}?" if close else ""


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _likeness(one: str, other: str) -> float:
    return SequenceMatcher(None, other, one).ratio()

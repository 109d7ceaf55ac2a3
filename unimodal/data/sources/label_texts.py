"""Labels that are text: lists in one cell, classes between separators, words that usually mean nothing."""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from unimodal.data.sources.labels import short

WORDS_FOR_NOTHING = ("null", "nan", "none", "na", "n/a", "<na>")
NUMPY_GAP = re.compile(r"""(?<=['"])\s+(?=['"])|(?<=[\w.])\s+(?=[-+]?[\d.]|True|False)""")  # ['a' 'b'], [0 1]
PIPE, OTHER_SEPARATORS = "|", (",", ";", " ")
MANY = 0.05  # share of the labels from which on a separator is suggested


def list_in(text: str) -> Sequence[Any] | None:
    """Return the list that a cell contains in JSON's, Python's or numpy's notation; None for other text."""
    text = text.strip()
    return _list_in(text) if text.startswith("[") and text.endswith("]") else None


@lru_cache(maxsize=1 << 16)
def _list_in(text: str) -> Sequence[Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        try:
            found = ast.literal_eval(NUMPY_GAP.sub(", ", text))
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return None
    plain = isinstance(found, list) and all(
        one is None or isinstance(one, str | int | float) for one in found
    )
    return tuple(found) if plain else None


def kind_of_texts(texts: Counter[str], total: int) -> tuple[str, list[str]]:
    """Return `multilabel` where text is split at `|`, else `class`, and notes for the user.

    It is split where several labels have the sign, or the one that has it consists of other labels.

    Args:
        texts: how often each occurs, without spaces around it.
        total: number of labels.
    """
    combined = _combined(texts, PIPE)
    rows = sum(texts[text] for text in combined)
    alone = {text for text in texts if PIPE not in text}
    if rows > 1 or any(alone.issuperset(parts) for parts in combined.values()):
        split = f'{rows:,} of {total:,} labels are split at "|" into several classes'
        return "multilabel", [f"{split} (data.labels.kind=class keeps them whole)"]
    notes = [
        f'the label {short(text)} is one class, the only one with "|"; data.labels.kind=multilabel splits it'
        for text in combined
    ]
    return "class", notes + _suggested(texts, total) + _some_lists(texts, total)


def _suggested(texts: Counter[str], total: int) -> list[str]:
    """A note on a separator that many labels have, and whose pieces recur."""
    for sign in OTHER_SEPARATORS:
        combined = _combined(texts, sign)
        known = Counter(part for parts in combined.values() for part in set(parts))
        known.update(text for text in texts if sign not in text)
        shared = [text for text, parts in combined.items() if all(known[part] > 1 for part in parts)]
        rows = sum(texts[text] for text in shared)
        if rows > 1 and rows >= MANY * total:
            return [
                f"{rows:,} of {total:,} labels, such as {short(shared[0])}, seem to name several classes; "
                f"each is one class, 'data.labels.separator=\"{sign}\"' divides them"
            ]
    return []


def _some_lists(texts: Counter[str], total: int) -> list[str]:
    lists = [text for text in texts if list_in(text) is not None]
    rows = sum(texts[text] for text in lists)
    if not lists:
        return []
    return [
        f"{rows:,} of {total:,} labels, such as {short(lists[0])}, look like lists, but not all do; each is "
        "one class unless all are lists"
    ]


def words_for_nothing(texts: Iterable[str]) -> list[str]:
    """Return a note on classes that are called as missing values often are."""
    found = sorted(text for text in texts if text.lower() in WORDS_FOR_NOTHING)
    if not found:
        return []
    called = "a class is" if len(found) == 1 else "classes are"
    return [f"{called} called {', '.join(found)}; where a label is missing, leave the cell empty instead"]


def _combined(texts: Iterable[str], sign: str) -> Mapping[str, list[str]]:
    """Texts that a sign divides into two or more parts, none of them empty."""
    split = {text: [part.strip() for part in text.split(sign)] for text in texts if sign in text}
    return {text: parts for text, parts in split.items() if all(parts)}

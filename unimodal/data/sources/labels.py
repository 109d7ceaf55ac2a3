"""One value of a label column as one class, several classes, or numbers; how a whole column is read is in
`label_reader.py`.

Text is a class under its own name, without the spaces around it: "3", "+3", "03" and "3.0" are four classes,
"null" and "nan" are two. The integer 3 is the class "3", and True is "true". A label is missing where there
is nothing: None, NaN, or an empty cell. Only among numbers the texts "nan" and "null" are missing labels too.
"""

import math
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from unimodal.types import IGNORED

KINDS = ("auto", "class", "multilabel", "number")
NO_NUMBERS = ("nan", "null")  # among numbers they stand for a missing one
LISTS = (list, tuple)
WHOLE = re.compile(r"[+-]?\d+$")
DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$", re.IGNORECASE)


class BadLabel(ValueError):
    """One row's label cannot be used; the message says why, without the row."""


@dataclass(frozen=True)
class Labels:
    """How labels are read.

    Attributes:
        kind: `class`, `multilabel`, `number`, or `auto`: as the values are, see `label_reader.py`.
        separator: between the classes of one text, such as ";"; sets kind to multilabel.
        class_names: in this order, instead of those of the data.
        unseen: of a class in val or test that train lacks: `error`, or `ignore` to leave such rows out.

    Raises:
        ValueError: if a value is unknown, or a class name is given twice.
    """

    kind: str = "auto"
    separator: str | None = None
    class_names: Sequence[str] | None = None
    unseen: str = "error"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"data.labels.kind={self.kind} is none of {', '.join(KINDS)}.")
        if self.unseen not in ("error", "ignore"):
            raise ValueError(f"data.labels.unseen={self.unseen} is neither error nor ignore.")
        names = self.names or []
        double = [name for name, count in Counter(names).items() if count > 1]
        if double:
            raise ValueError(
                f"data.labels.class_names has {double[0]!r} twice; every class needs a name of its own."
            )

    @property
    def names(self) -> list[str] | None:
        """The class names as labels are normalised; None where they are not given."""
        return [class_name(name) for name in self.class_names] if self.class_names else None


def is_missing(value: Any) -> bool:
    """Return whether there is no label: None, NaN, blank text, or a row of which every column is so."""
    if isinstance(value, str):  # first, as most labels are text
        return not value or value.isspace()
    if isinstance(value, LISTS):
        return bool(value) and all(map(is_missing, value))
    return value is None or (isinstance(value, float) and math.isnan(value))


def class_name(value: Any) -> str:
    """Return the one normal form of a class; raises BadLabel for a value that is none."""
    if isinstance(value, list | tuple | dict):
        raise BadLabel(f"has a list for a label ({short(value)}); data.labels.kind=multilabel reads lists")
    if is_missing(value):
        raise BadLabel("has no label")
    if isinstance(value, bool):
        return str(value).lower()
    whole = isinstance(value, float) and value.is_integer()
    return sys.intern(str(int(value) if whole else value).strip())  # of millions of rows few differ


def number(value: Any) -> float:
    """Return a finite number; raises BadLabel."""
    if is_missing(value) or (isinstance(value, str) and value.strip().lower() in NO_NUMBERS):
        raise BadLabel("has no label")
    try:
        if isinstance(value, str) and "_" in value:  # Python would skip it
            raise ValueError
        result = float(value)
    except (TypeError, ValueError):
        raise BadLabel(f"has the label {short(value)}, which is no number") from None
    if not math.isfinite(result):
        raise BadLabel(f"has the label {result}, which is not finite")
    return result


def numbers(value: Any) -> list[float]:
    """Return one number or a list of them; raises BadLabel, also where all are -100."""
    found = [number(one) for one in (value if isinstance(value, list | tuple) else [value])]
    if found and all(one == IGNORED for one in found):
        raise BadLabel(
            f"has the label {IGNORED}, which stands for a label that does not count; use another unit in the "
            "column that data.columns.label names, or add a constant"
        )
    return found


def sort_names(names: set[str]) -> list[str]:
    """As numbers where all are whole numbers, else as text."""
    whole = all(WHOLE.match(name) for name in names)
    return sorted(names, key=(lambda name: (int(name), name)) if whole else None)


def encode(parsed: Any, kind: str, index: dict[str, int]) -> Any:
    """Return a sample's `label`: an int, float32 [C] of 0 and 1, or float64 [K]."""
    if kind == "class":
        return index[parsed]
    if kind == "number":
        return torch.tensor(parsed, dtype=torch.float64)  # the task subtracts the training mean
    label = torch.zeros(len(index))
    label[[index[name] for name in parsed]] = 1
    return label


def class_counts(parsed: Sequence[Any]) -> Counter[str]:
    """Samples a class."""
    return Counter(name for one in parsed for name in ([one] if isinstance(one, str) else one))


def short(value: Any) -> str:
    """Return a value as messages show it."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

"""From what stands in a label column to what a task learns: one class, several classes, or numbers.

One normalisation, whatever the file format: text is stripped of surrounding spaces; 3, "3" and " 3" are the
same class "3"; True is "true"; None, "", "nan" and "null" are a missing label. Class names are sorted, as
numbers where all of them are whole numbers. Decimal numbers are no classes unless it is said that they are.
"""

import math
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

KINDS = ("auto", "class", "multilabel", "number")
MISSING = ("", "nan", "null")
WHOLE = re.compile(r"[+-]?\d+$")
MAX_CLASSES_SHOWN = 20


class BadLabel(ValueError):
    """One row's label cannot be used; the message says why, without the row."""


@dataclass(frozen=True)
class Labels:
    """How labels are read.

    Attributes:
        kind: `class`, `multilabel`, `number`, or `auto`: lists (or text with `|`) are several classes,
            numbers that are not all whole are numbers, all else is one class.
        separator: between the classes of one text, such as ";"; sets kind to multilabel.
        class_names: in this order, instead of those found, sorted.
        unseen: of a class in val or test that train lacks: `error`, or `ignore` to leave such rows out.
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

    def settled(self, values: Sequence[Any]) -> "Labels":
        """With `auto` replaced by what the values are, and with a separator for multilabel."""
        kind, separator = self.kind, self.separator
        if kind == "auto":
            kind = "multilabel" if separator else _infer(values)
        if kind == "multilabel" and separator is None:
            separator = "|"
        return Labels(kind, separator, self.class_names, self.unseen)

    def parse(self, value: Any) -> Any:
        """A class name, a list of them, or a list of numbers; raises BadLabel."""
        if self.kind == "class":
            return class_name(value)
        if self.kind == "number":
            return [number(one) for one in (value if isinstance(value, list | tuple) else [value])]
        if is_missing(value):
            raise BadLabel("has no label")
        many = value if isinstance(value, list | tuple) else str(value).split(self.separator)
        return sorted({class_name(one) for one in many if not is_missing(one)})


def is_missing(value: Any) -> bool:
    """None, NaN, and text that says so."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, str) and value.strip().lower() in MISSING)


def class_name(value: Any) -> str:
    """The one normal form of a class; raises BadLabel for what is none."""
    if isinstance(value, list | tuple | dict):
        raise BadLabel(f"has a list for a label ({_short(value)}); data.labels.kind=multilabel reads lists")
    if is_missing(value):
        raise BadLabel("has no label")
    if isinstance(value, bool):
        return str(value).lower()
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
    if WHOLE.match(text) and not (len(text.lstrip("+-")) > 1 and text.lstrip("+-")[0] == "0"):
        text = str(int(text))
    return sys.intern(text)  # of millions of rows few differ


def number(value: Any) -> float:
    """A finite number; raises BadLabel."""
    if is_missing(value):
        raise BadLabel("has no label")
    try:
        result = float(value)
    except (TypeError, ValueError):
        raise BadLabel(f"has the label {_short(value)}, which is no number") from None
    if not math.isfinite(result):
        raise BadLabel(f"has the label {result}, which is not finite")
    return result


def sort_names(names: set[str]) -> list[str]:
    """As numbers where all are whole numbers, else as text."""
    whole = all(WHOLE.match(name) for name in names)
    return sorted(names, key=(lambda name: (int(name), name)) if whole else None)


def encode(parsed: Any, kind: str, index: dict[str, int]) -> Any:
    """What a sample's `label` is: an int, or float [C] or [K]."""
    if kind == "class":
        return index[parsed]
    if kind == "number":
        return torch.tensor(parsed, dtype=torch.float32)
    label = torch.zeros(len(index))
    label[[index[name] for name in parsed]] = 1
    return label


def class_counts(parsed: Sequence[Any]) -> Counter[str]:
    """Samples a class."""
    return Counter(name for one in parsed for name in ([one] if isinstance(one, str) else one))


def _infer(values: Sequence[Any]) -> str:
    present = [value for value in values if not is_missing(value)]
    if any(isinstance(value, list | tuple) for value in present):
        numbers = all(isinstance(one, float) for value in present if isinstance(value, list) for one in value)
        return "number" if numbers and any(len(value) for value in present) else "multilabel"
    if any(isinstance(value, bool) for value in present):
        return "class"
    if all(_is_number(value) for value in present):
        whole = all(isinstance(v, int) or (isinstance(v, str) and WHOLE.match(v.strip())) for v in present)
        return "class" if whole else "number"
    return "multilabel" if any(isinstance(value, str) and "|" in value for value in present) else "class"


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

"""How a label column is read: decided once, from all of its values, and explained where that is not plain.

With `data.labels.kind=auto`:

    lists of one length, two or more, of only 0, 1, true, false     multi-hot: entry i stands for class i
    other lists, and text that has the separator                    several classes
    several columns of only 0, 1, true, false                       several classes, called as the columns
    lists of decimal numbers, other several columns                 numbers
    numbers that are not all whole                                  numbers
    everything else                                                 one class

Cells that all are lists in Python's or JSON's notation, as csv files have them, are read as these lists.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from unimodal.data.sources.label_texts import PIPE, kind_of_texts, list_in, words_for_nothing
from unimodal.data.sources.labels import (
    DECIMAL,
    LISTS,
    NO_NUMBERS,
    WHOLE,
    BadLabel,
    Labels,
    class_name,
    is_missing,
    numbers,
    short,
)

BITS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}
TRUTH = ("false", "true")
NOT_FINITE = (*NO_NUMBERS, "inf", "+inf", "-inf", "infinity")  # decide nothing beside numbers


@dataclass(frozen=True)
class LabelReader:
    """Reads the values of one label column, or the rows of several.

    Attributes:
        kind: `class`, `multilabel` or `number`.
        class_names: all classes in their order; None: those that training has, sorted.
        separator: between the classes of one text.
        hot: the class of each entry of a multi-hot vector; None where labels are no such vectors.
        listed: cells of text are lists.
        truth: all labels are true or false, in any case.
        numeric: all other labels are numbers, so that the texts "nan" and "null" are missing labels.
        notes: what a user should know of these decisions.
    """

    kind: str
    class_names: Sequence[str] | None = None
    separator: str | None = None
    hot: Sequence[str] | None = None
    listed: bool = False
    truth: bool = False
    numeric: bool = False
    notes: Sequence[str] = ()

    def parse(self, value: Any) -> Any:
        """Return a class name, a sorted list of them, or a list of numbers; raises BadLabel."""
        if self.listed and isinstance(value, str):
            value = list_in(value) if value.strip() else None
        if self.kind == "number":
            return numbers(value)
        if self.kind == "class":
            return self._name(value)
        if is_missing(value):
            return []
        if self.hot is not None:
            return self._applying(value)
        return sorted({self._name(one) for one in _parts(value, self.separator) if not is_missing(one)})

    def _name(self, value: Any) -> str:
        name = class_name(value)
        if self.numeric and name.lower() in NO_NUMBERS:
            raise BadLabel("has no label")
        return name.lower() if self.truth else name

    def _applying(self, value: Any) -> list[str]:
        assert self.hot is not None
        entries = value if isinstance(value, list | tuple) else [value]
        bits = [0 if is_missing(one) else bit(one) for one in entries]
        if len(bits) != len(self.hot) or None in bits:
            raise BadLabel(
                f"has the label {short(value)}, which is no vector of {len(self.hot)} entries of 0 and 1"
            )
        return sorted(name for name, applies in zip(self.hot, bits, strict=True) if applies)


def label_reader(
    labels: Labels,
    values: Sequence[Any],
    columns: Sequence[str] = ("label",),
    names: Sequence[str] | None = None,
    typed: bool = False,
) -> LabelReader:
    """Decide how labels are read.

    Args:
        labels: what the user says.
        values: of the label column, or a list a row where there are several.
        columns: their names.
        names: the classes that the data itself declares, as a `ClassLabel` does.
        typed: the file tells text from numbers, so that text is a class even if it looks like a number.

    Raises:
        ValueError: if the labels can be read in no way, or in two.
    """
    names = labels.names or (names and [class_name(name) for name in names]) or None
    present = [value for value in values if not is_missing(value)]
    if len(columns) > 1:
        return _of_columns(labels, present, columns, names)
    listed = labels.kind != "class" and _all_lists(present)
    if listed:
        present = [list_in(value) if isinstance(value, str) else value for value in present]
    if any(isinstance(value, LISTS) for value in present):
        return _of_lists(labels, present, names, listed)
    return _of_single(labels, present, names, typed)


def _of_columns(
    labels: Labels, rows: Sequence[Any], columns: Sequence[str], names: Sequence[str] | None
) -> LabelReader:
    if labels.kind == "class":
        raise ValueError(
            f"data.labels.kind=class reads one column; data.columns.label names {len(columns)}. Name one, or "
            "set data.labels.kind=multilabel for columns of 0 and 1, or number."
        )
    hot = bool(rows) and all(is_missing(one) or bit(one) is not None for row in rows for one in row)
    if labels.kind == "number" or not (hot or labels.kind == "multilabel"):
        return LabelReader("number")
    called = _called(columns, names, "data.columns.label has {} columns")
    note = (
        f"the columns {', '.join(columns)} hold only 0 and 1: each is a class, and several may apply "
        "(data.labels.kind=number predicts numbers)"
    )
    return LabelReader("multilabel", names or called, hot=called, notes=[note] if hot else [])


def _of_lists(
    labels: Labels, values: Sequence[Any], names: Sequence[str] | None, listed: bool
) -> LabelReader:
    lists = [value for value in values if isinstance(value, list | tuple)]
    if labels.kind == "class":
        return LabelReader("class", names)  # which refuses lists, row by row
    if labels.kind != "number" and (length := hot_length(lists)):
        called = _called(list(map(str, range(length))), names, "the vectors have {} entries")
        note = (
            f"lists of {length} entries of 0 and 1 are read as multi-hot vectors, entry i for class i "
            "(data.labels.class_names names the classes)"
        )
        return LabelReader("multilabel", names or called, hot=called, listed=listed, notes=[note])
    entries = [one for value in lists for one in value]
    decimal = all(map(_is_number, entries)) and any(isinstance(one, float | Decimal) for one in entries)
    if labels.kind == "number" or (labels.kind == "auto" and decimal):
        return LabelReader("number", listed=listed)
    return LabelReader("multilabel", names, labels.separator or PIPE, listed=listed)


def _called(found: Sequence[str], names: Sequence[str] | None, what: str) -> Sequence[str]:
    """The class of each entry or column; given names are taken in the order of the entries."""
    if names and set(names) != set(found):
        if len(names) != len(found):
            raise ValueError(
                f"data.labels.class_names has {len(names)} names, but {what.format(len(found))}; name each."
            )
        return list(names)
    return list(found)


def hot_length(lists: Sequence[Any]) -> int | None:
    """Return the length of multi-hot vectors, None for lists of classes.

    Truth values, decimal numbers and the same number twice in one list are only found in vectors. Without
    them lists of one entry, and such of different lengths, are lists of the classes 0 and 1.

    Raises:
        ValueError: if lists can only be vectors, but differ in length.
    """
    full = [value for value in lists if len(value)]
    if not full or any(not is_missing(one) and _entry(one) is None for value in full for one in value):
        return None
    lengths = {len(value) for value in full}
    certain = any(len(set(value)) < len(value) for value in full) or any(
        isinstance(one, bool | float) for value in full for one in value
    )
    if certain and len(lengths) > 1:
        raise ValueError(
            f"the labels look like multi-hot vectors of 0 and 1, but have {min(lengths)} to {max(lengths)} "
            "entries; give each the same number of entries, or write lists of class names."
        )
    same = len(lengths) == 1 and len(full) == len(lists) and max(lengths) > 1
    return max(lengths) if certain or same else None


def _of_single(
    labels: Labels, values: Sequence[Any], names: Sequence[str] | None, typed: bool
) -> LabelReader:
    """Read one value a row."""
    texts = Counter(value.strip() for value in values if isinstance(value, str))
    others = [value for value in values if not isinstance(value, str)]
    figures = [text for text in texts if text.lower() not in NOT_FINITE]
    numeric = bool(figures or others) and all(map(DECIMAL.match, figures)) and all(map(_is_number, others))
    truth = all(text.lower() in TRUTH for text in texts) and all(isinstance(one, bool) for one in others)
    kind, notes = labels.kind, list[str]()
    if kind == "auto" and labels.separator:
        kind = "multilabel"
    elif (
        kind == "auto" and (not names or labels.class_names) and not any(isinstance(o, bool) for o in others)
    ):
        kind, notes = _of_numbers(figures, others, typed) if numeric else kind_of_texts(texts, len(values))
    elif kind == "auto":
        kind = "class"
    if kind == "number":
        return LabelReader("number", notes=notes)
    if truth and names:
        names = [name.lower() if name.lower() in TRUTH else name for name in names]
    separator = (labels.separator or PIPE) if kind == "multilabel" else None
    notes = notes + ([] if numeric else words_for_nothing(texts))
    return LabelReader(kind, names, separator, truth=truth, numeric=numeric, notes=notes)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _of_numbers(figures: Sequence[str], others: Sequence[Any], typed: bool) -> tuple[str, list[str]]:
    """Whether numbers are predicted or are names of classes, and notes on it."""
    decimal = any(isinstance(one, float | Decimal) for one in others)
    if not decimal and all(map(WHOLE.match, figures)):
        return "class", []
    if typed and not others:
        return "class", [
            "the labels are text that looks like numbers; data.labels.kind=number predicts numbers"
        ]
    return "number", []


def _parts(value: Any, separator: str | None) -> Sequence[Any]:
    if isinstance(value, list | tuple):
        return value
    return value.split(separator) if isinstance(value, str) else [value]


def bit(value: Any) -> int | None:
    """Return 0 or 1 for a number, truth value or text that means it, None for anything else."""
    return BITS.get(value.strip().lower()) if isinstance(value, str) else _entry(value)


def _entry(value: Any) -> int | None:
    """Return 0 or 1 for a number or truth value that is one of them, None for anything else."""
    is_one_of_them = isinstance(value, int | float | Decimal) and value in (0, 1)
    return int(value) if is_one_of_them else None


def _all_lists(values: Sequence[Any]) -> bool:
    texts = [value for value in values if isinstance(value, str)]
    return bool(texts) and len(texts) == len(values) and all(list_in(text) is not None for text in texts)

"""The labels of all rows, and the splits that have none."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from unimodal.data.sources.label_reader import LabelReader, label_reader
from unimodal.data.sources.labels import BadLabel, Labels, is_missing
from unimodal.data.sources.reading import Reading

NO_LABEL = ("-1", "-1.0")  # how public data sets mark the labels of a hidden test split


@dataclass
class LabelColumn:
    """What the label column of a data set contains.

    Attributes:
        reader: how its values are read.
        parsed: of each row that can be used what `reader.parse` returned.
        problems: rows that cannot be used, each with the reason.
        notes: what a user should know.
        unlabelled: splits that are left out because none of their rows has a label, each with a message.
    """

    reader: LabelReader
    parsed: dict[int, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unlabelled: dict[str, str] = field(default_factory=dict)


def read_labels(usable: Sequence[int], reading: Reading, labels: Labels) -> LabelColumn:
    """Parse the labels of the rows that can be used.

    A test split of which no row has a label is for `predict` and is left out. In other splits a missing
    label is a problem, or for multi-label data an empty list of classes; there a split must have a label.
    """
    rows, columns = reading.samples.rows, reading.columns.label
    values = _joined([rows.column(name) for name in columns])
    missing = list(map(is_missing, values))
    hidden, rest = _hidden_test(usable, reading.given, values, missing)
    reader = label_reader(labels, [values[row] for row in rest], columns, reading.class_names, rows.typed)
    column = LabelColumn(reader)
    if hidden:
        column.notes.append(
            f"test: {len(hidden):,} samples without labels are left out; unimodal predict is for them"
        )
        column.unlabelled["test"] = (
            f"the split test has {len(hidden):,} samples, none of them with a label in {', '.join(columns)}; "
            "use unimodal predict for them, or add their labels to measure on them."
        )
    empty = {reading.given[row] for row in rest} - {reading.given[row] for row in rest if not missing[row]}
    known: dict[str, Any] = {}  # of millions of labels few differ
    for row in rest:
        value = values[row]
        try:
            if missing[row] and reading.given[row] in empty:
                raise BadLabel("has no label, nor has any other row of its split")
            if isinstance(value, str):
                column.parsed[row] = (
                    known[value] if value in known else known.setdefault(value, reader.parse(value))
                )
            else:
                column.parsed[row] = reader.parse(value)
        except BadLabel as error:
            column.problems.append(f"{rows.where(row)}: {error}")
    column.notes += _without_class(column, values) if reader.kind == "multilabel" else []
    return column


def _hidden_test(
    usable: Sequence[int], given: Sequence[str | None], values: Sequence[Any], missing: Sequence[bool]
) -> tuple[list[int], list[int]]:
    """The rows of a test split without labels, and all others."""
    test = [row for row in usable if given[row] == "test"]
    if not test:
        return [], list(usable)
    rest = [row for row in usable if given[row] != "test"]
    marked = [row for row in test if not missing[row]]
    marks = all(_is_mark(values[row]) for row in marked)
    if not marks or (marked and any(_is_mark(values[row]) for row in rest)):
        return [], list(usable)
    return test, rest


def _is_mark(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(map(_is_mark, value))
    return str(value).strip() in NO_LABEL


def _without_class(column: LabelColumn, values: Sequence[Any]) -> list[str]:
    none = sum(not parsed for parsed in column.parsed.values())
    missing = sum(map(_lacks, (values[row] for row in column.parsed)))
    notes = [f"{none:,} of {len(column.parsed):,} samples have no class"] if none else []
    if missing:
        notes.append(f"{missing:,} samples have missing labels, which count as classes that do not apply")
    return notes


def _lacks(value: Any) -> bool:
    return is_missing(value) or (isinstance(value, list | tuple) and any(map(is_missing, value)))


def _joined(columns: Sequence[Sequence[Any]]) -> Sequence[Any]:
    return columns[0] if len(columns) == 1 else [list(values) for values in zip(*columns, strict=True)]

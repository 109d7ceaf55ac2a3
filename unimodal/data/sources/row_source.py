"""A source made of rows, wherever they come from: settled columns, labels and splits."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from unimodal.data.decoding.encoded import BadSample
from unimodal.data.sources import labels as labels_of
from unimodal.data.sources.base import Source, check_split
from unimodal.data.sources.described import described
from unimodal.data.sources.group_hints import column_hints, is_group_name, name_hints
from unimodal.data.sources.label_column import read_labels
from unimodal.data.sources.labels import Labels
from unimodal.data.sources.policy import Policy
from unimodal.data.sources.reading import Reading
from unimodal.data.sources.regions import settle
from unimodal.data.sources.row_splits import RowSplits
from unimodal.data.sources.rows import RowSamples
from unimodal.data.sources.splits import SPLITS

SHOWN = 20  # problems in one message
MOST_HINTED = 500_000  # samples whose names are looked at


class RowSource(Source):
    """The common part of folder, table and hub.

    Args:
        reading: the rows, their columns and given splits.
        labels: how labels are read.
        policy: what is done about missing splits, bad samples, and with memory.

    Attributes:
        problems: rows that cannot be used, each with the reason.
        notes: what a user should know of how the data was read.
    """

    def __init__(self, reading: Reading, labels: Labels, policy: Policy):
        self.samples, self.columns = reading.samples, reading.columns
        self.on_bad_sample, self.cache_gib = policy.on_bad_sample, policy.cache_gib
        self.allow_changed, self.label_hint = policy.allow_changed, reading.label_hint
        self.allow_missing = self.samples.allow_missing = policy.allow_missing
        self.problems = list(self.samples.rows.problems)
        self.notes = [*reading.notes, *self.samples.rows.notes]
        usable = self._without_empty_text(range(len(self.samples)))
        self.parsed: dict[int, Any] = {}
        self.unlabelled: dict[str, str] = {}
        if self.columns.label:
            usable = self._read_labels(usable, reading, labels)
        self.splits = RowSplits(self.samples, self.columns.id, policy, self._classes)
        self.indices = self._divide(usable, reading.given, policy)
        self.split_names = tuple(name for name in SPLITS if name in self.indices)
        settle(self, labels)
        self._name_classes(labels, policy)  # of the whole training part, whatever share of it is used
        if policy.train_fraction < 1 and "train" in self.indices:
            self.indices["train"] = np.array(self.splits.share(self.indices["train"].tolist()), np.int64)
            self._take_over()
        self._check()

    def split(self, name: str) -> RowSamples:
        """Samples whose media are not decoded yet.

        Raises:
            ValueError: for a split that is not there, and while there are problems, listing them.
        """
        if self.problems and self.on_bad_sample == "error":
            shown = "".join(f"\n  {problem}" for problem in self.problems[:SHOWN])
            more = f"\n  and {len(self.problems) - SHOWN} more" if len(self.problems) > SHOWN else ""
            few = len(self.problems) <= self._most_skipped()
            skip = ", or set data.on_bad_sample=skip to leave them out."
            mend = skip if few else "; data.on_bad_sample=skip leaves out at most 1% of the rows."
            raise ValueError(
                f"{len(self.problems)} rows cannot be used:{shown}{more}\nCorrect or remove them{mend}"
            )
        return self.usable(name)

    def usable(self, name: str) -> RowSamples:
        """The split without the rows that `problems` names."""
        if name in self.unlabelled:
            raise ValueError(self.unlabelled[name])
        indices = self.indices[check_split(name, self.split_names)]
        return RowSamples(self.samples, indices, self._label if self.columns.label else None)

    def split_labels(self, name: str) -> list[Any]:
        """Without decoding anything."""
        return [self._label(row) for row in self.indices[check_split(name, self.split_names)].tolist()]

    def fingerprint(self) -> str:
        """Of labels, splits and the content of each row."""
        digest = hashlib.blake2b(digest_size=16)
        for name in self.split_names:
            digest.update(name.encode())
            for row in self.indices[name].tolist():
                digest.update(repr((self._version(row), self.parsed.get(row))).encode("utf-8", "replace"))
        return digest.hexdigest()

    def describe(self) -> list[str]:
        """Sizes, columns, classes, and what was decided."""
        return list(described(self))

    def hints(self) -> list[str]:
        """Columns and parts of file names that look like groups, where the validation split is made."""
        if not self.splits.makes_val or self.splits.group_key:
            return []
        rows = sorted(row for name in ("train", "val") for row in self.indices[name].tolist())
        if len(rows) > MOST_HINTED:
            return []
        classes = ["|".join(self._classes(row)) for row in rows]
        table, read = self.samples.rows, self.columns
        used = {*read.media.values(), *read.label, read.split, *read.regions.values()}
        free = {name: table.column(name) for name in table.column_names if is_group_name(name, used)}
        columns = {name: [values[row] for row in rows] for name, values in free.items()}
        if hints := list(column_hints(columns, classes)):
            return hints
        names = self.samples.written_names()
        return list(name_hints([names[row] for row in rows], classes)) if names else []

    def _version(self, row: int) -> str:
        try:
            return self.samples.version(row)
        except BadSample:
            return ""

    def _label(self, row: int) -> Any:
        return labels_of.encode(self.parsed[row], self.kind, self.class_index)

    def _without_empty_text(self, rows: Sequence[int]) -> list[int]:
        column = self.samples.media.get("text")
        if column is None or self.allow_missing:
            return list(rows)
        values = self.samples.rows.column(column)
        full = [row for row in rows if not labels_of.is_missing(values[row])]
        if len(full) < len(rows):
            self.notes.append(f"{len(rows) - len(full)} rows without text are left out")
        return full

    def _read_labels(self, usable: list[int], reading: Reading, labels: Labels) -> list[int]:
        column = read_labels(usable, reading, labels)
        self.labels, self.parsed, self.unlabelled = column.reader, column.parsed, column.unlabelled
        self.problems += column.problems
        self.notes += [*column.reader.notes, *column.notes]
        return list(column.parsed)

    @property
    def kind(self) -> str:
        """class, multilabel or number; empty without labels."""
        return self.labels.kind if self.columns.label else ""

    def _classes(self, row: int) -> list[str]:
        """The classes of a row; none where labels are no classes."""
        return _listed(self.parsed[row]) if self.kind in ("class", "multilabel") else []

    def _divide(self, usable: Sequence[int], given: Sequence[str | None], policy: Policy) -> dict[str, Any]:
        by_name = self.splits.divide(usable, given)
        self._take_over()
        if not by_name:
            reasons = [*self.problems, *self.unlabelled.values()]
            raise ValueError(f"no row can be used; the first: {'; '.join(reasons[:1])}")
        empty = next((name for name, rows in by_name.items() if not rows), None)
        if empty:
            first = f"; the first that cannot be used: {self.problems[0]}" if self.problems else ""
            alone = "; each is the only one of a class" if self._each_is_alone(by_name["train"]) else ""
            raise ValueError(
                f"the split {empty} is empty: of {len(usable)} samples too few are left for "
                f"data.val_fraction={policy.val_fraction}{alone}{first}. Name a validation split with "
                "data.splits.val, merge rare classes, or check data.labels.kind."
            )
        return {name: np.array(rows, np.int64) for name, rows in by_name.items()}

    def _take_over(self) -> None:
        """Add what dividing the rows has found to the problems and notes."""
        self.problems += self.splits.problems
        self.notes += self.splits.notes
        self.splits.problems, self.splits.notes = [], []

    def _each_is_alone(self, rows: Sequence[int]) -> bool:
        if len(rows) < 2 or self.kind not in ("class", "multilabel"):
            return False
        counts = labels_of.class_counts([self.parsed[row] for row in rows])
        return all(any(counts[name] == 1 for name in _listed(self.parsed[row])) for row in rows)

    def _name_classes(self, labels: Labels, policy: Policy) -> None:
        self.class_index: dict[str, int] = {}
        if self.kind == "number":
            self.target_names = self._number_names()
        if self.kind not in ("class", "multilabel"):
            return
        self.multilabel = self.kind == "multilabel"
        known = self.indices.get("train", next(iter(self.indices.values())))  # to measure, there is only val
        if policy.folds and policy.val_fraction is not None:  # all folds have the same classes
            known = np.concatenate([known, self.indices["val"]])
        seen = set(labels_of.class_counts([self.parsed[row] for row in known]))
        self.class_names = list(self.labels.class_names or labels_of.sort_names(seen))
        self.class_index = {name: index for index, name in enumerate(self.class_names)}
        for name in self.split_names:
            self.indices[name] = self._known(name, labels.unseen)

    def _number_names(self) -> tuple[str, ...]:
        """The columns, or places in the lists of one column."""
        names, widths = tuple(self.columns.label), {len(numbers) for numbers in self.parsed.values()}
        if len(widths) > 1:
            raise ValueError(f"the column {names[0]} holds lists of different lengths: {sorted(widths)}.")
        width = widths.pop() if widths else 1
        return names if len(names) == width else tuple(f"{names[0]}_{i}" for i in range(width))

    def _known(self, split: str, unseen: str) -> Any:
        """The rows whose classes have a name."""
        rows = self.indices[split]
        strange = {row: set(_listed(self.parsed[row])) - self.class_index.keys() for row in rows.tolist()}
        strange = {row: names for row, names in strange.items() if names}
        if not strange:
            return rows
        names = ", ".join(labels_of.sort_names(set().union(*strange.values())))
        if unseen == "ignore":
            self.notes.append(f"{len(strange)} of {split} are left out: their class is not known ({names})")
        else:
            self.problems += [
                f"{self.samples.rows.where(row)}: the class {', '.join(sorted(strange[row]))} of {split} "
                "is not known from training (data.labels.unseen=ignore leaves such rows out)"
                for row in strange
            ]
        return np.array([row for row in rows.tolist() if row not in strange], np.int64)

    def _most_skipped(self) -> float:
        return max(1, 0.01 * len(self.samples))

    def _check(self) -> None:
        if self.on_bad_sample == "skip" and len(self.problems) > self._most_skipped():
            raise ValueError(
                f"{len(self.problems)} of {len(self.samples)} rows cannot be used, more than 1%; the first: "
                f"{self.problems[0]}. unimodal check-data lists them all."
            )


def _listed(parsed: Any) -> list[str]:
    return [parsed] if isinstance(parsed, str) else parsed

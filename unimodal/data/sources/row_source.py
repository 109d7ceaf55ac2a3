"""A source made of rows, wherever they come from: settled columns, labels and splits."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unimodal.data.decoding.encoded import BadSample
from unimodal.data.sources import labels as labels_of
from unimodal.data.sources.base import Source, check_split
from unimodal.data.sources.described import described
from unimodal.data.sources.label_column import read_labels
from unimodal.data.sources.labels import Labels
from unimodal.data.sources.reading import Reading
from unimodal.data.sources.regions import settle
from unimodal.data.sources.rows import RowSamples
from unimodal.data.sources.splits import SPLITS, make_val, share_of

SHOWN = 20  # problems in one message


@dataclass(frozen=True)
class Policy:
    """What is the same for rows from everywhere.

    Attributes:
        val_fraction: share of the training part that becomes val where none is given; None: none is made, and
            what is given no split is val, as evaluation wants it.
        train_fraction: share of what is left to train on that is used; a smaller one is part of a larger one,
            and val stays what it is.
        seed: of both choices.
        on_bad_sample: `error`, or `skip` to leave out at most 1%.
        cache_gib: room for decoded media on the disk, so that they are decoded once; 0 keeps none.
        allow_changed: resume a run although the data has changed.
        allow_missing: a row may lack some of its media; one of them is enough.
    """

    val_fraction: float | None = 0.1
    train_fraction: float = 1.0
    seed: int = 0
    on_bad_sample: str = "error"
    cache_gib: float = 2.0
    allow_changed: bool = False
    allow_missing: bool = False

    def __post_init__(self) -> None:
        if self.on_bad_sample not in ("error", "skip"):
            raise ValueError(f"data.on_bad_sample={self.on_bad_sample} is neither error nor skip.")
        if not 0 < self.train_fraction <= 1:
            raise ValueError(f"data.train_fraction={self.train_fraction} is not above 0 and at most 1.")


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
        self.indices = self._splits(usable, reading.given, policy.val_fraction, policy.seed)
        self.split_names = tuple(name for name in SPLITS if name in self.indices)
        settle(self, labels)
        self._name_classes(labels)  # of the whole training part, whatever share of it is used
        if policy.train_fraction < 1 and "train" in self.indices:
            self.indices["train"] = self._share(self.indices["train"], policy)
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

    def _splits(
        self, usable: Sequence[int], given: Sequence[str | None], val_fraction: float | None, seed: int
    ) -> dict[str, Any]:
        by_name: dict[str, list[int]] = {}
        for row in usable:
            by_name.setdefault(given[row] or ("val" if val_fraction is None else "train"), []).append(row)
        if not by_name:
            reasons = [*self.problems, *self.unlabelled.values()]
            raise ValueError(f"no row can be used; the first: {'; '.join(reasons[:1])}")
        if val_fraction is None:
            return {name: np.array(rows, np.int64) for name, rows in by_name.items()}
        if "train" not in by_name:
            have = ", ".join(by_name)
            raise ValueError(f"the data has no training part, only {have}; name it with data.splits.train.")
        if "val" not in by_name:
            by_name["train"], by_name["val"] = self._made(by_name["train"], val_fraction, seed)
            num_val, num_all = len(by_name["val"]), len(by_name["val"]) + len(by_name["train"])
            self.notes.append(
                f"val: {num_val:,} of {num_all:,} training samples, by a hash of their content "
                f"(data.val_fraction={val_fraction})"
            )
        empty = next((name for name, rows in by_name.items() if not rows), None)
        if empty:
            first = f"; the first that cannot be used: {self.problems[0]}" if self.problems else ""
            alone = "; each is the only one of a class" if self._each_is_alone(by_name["train"]) else ""
            raise ValueError(
                f"the split {empty} is empty: of {len(usable)} samples too few are left for "
                f"data.val_fraction={val_fraction}{alone}{first}. Name a validation split with "
                "data.splits.val, merge rare classes, or check data.labels.kind."
            )
        return {name: np.array(rows, np.int64) for name, rows in by_name.items()}

    def _each_is_alone(self, rows: Sequence[int]) -> bool:
        if len(rows) < 2 or self.kind not in ("class", "multilabel"):
            return False
        counts = labels_of.class_counts([self.parsed[row] for row in rows])
        return all(any(counts[name] == 1 for name in _listed(self.parsed[row])) for row in rows)

    def _made(self, rows: Sequence[int], fraction: float, seed: int) -> tuple[list[int], list[int]]:
        keys, kept = self._keys(rows)
        classed = self.kind in ("class", "multilabel")
        classes = [_listed(self.parsed[row]) if classed else [] for row in kept]
        chosen = make_val(keys, classes, fraction, seed)
        train = [row for row, val in zip(kept, chosen, strict=True) if not val]
        return train, [row for row, val in zip(kept, chosen, strict=True) if val]

    def _keys(self, rows: Sequence[int]) -> tuple[list[str], list[int]]:
        """What identifies each row, its id or content, and the rows of which that can be said."""
        keys, kept, ids = [], [], self.columns.id
        given = self.samples.rows.column(ids) if ids else None
        for row in rows:
            try:
                keys.append(str(given[row]) if given is not None else self._content(row))
                kept.append(row)
            except BadSample as error:
                self.problems.append(str(error))
        return keys, kept

    def _share(self, rows: Any, policy: Policy) -> Any:
        """Those of the training rows that are used."""
        keys, kept = self._keys(rows.tolist())
        chosen = share_of(keys, policy.train_fraction, policy.seed)
        used = [row for row, use in zip(kept, chosen, strict=True) if use]
        if not used:
            raise ValueError(
                f"data.train_fraction={policy.train_fraction} leaves none of {len(rows)} training samples."
            )
        self.notes.append(
            f"train: {len(used):,} of {len(rows):,} samples, by a hash of their content "
            f"(data.train_fraction={policy.train_fraction})"
        )
        return np.array(used, np.int64)

    def _content(self, row: int) -> str:
        """What a row is, together with those that it may not be separated from; raises BadSample."""
        return "/".join(self.samples.key(one) for one in self.samples.rows.siblings(row))

    def _name_classes(self, labels: Labels) -> None:
        self.class_index: dict[str, int] = {}
        if self.kind == "number":
            self.target_names = self._number_names()
        if self.kind not in ("class", "multilabel"):
            return
        self.multilabel = self.kind == "multilabel"
        known = self.indices.get("train", next(iter(self.indices.values())))  # to measure, there is only val
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

"""What a source of samples is, and how one draws and splits so that nothing ever moves."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unimodal.types import Sample

EMBEDDED_SPLITS = ("train", "val")


class Source:
    """Named splits of samples. One's own subclass writes `split`; the rest has defaults.

    Attributes:
        class_names: the name of each value of `label`; empty where samples have no class.
        multilabel: `label` is float [C], 1 for each class that applies, instead of one int.
        region_names: the name of each value of `mask`, or the labels of `spans`; "O" is what lies outside.
        target_names: of the numbers in `label`, float [K], where numbers are to be predicted.
        split_names: the splits there are.
        on_bad_sample: `error`, or `skip` to leave out what cannot be decoded.
        label_hint: what to do where labels are wanted and there are none.
        max_skipped: share of a split that may be left out.
        block: rows that are read together, within which training shuffles; None: over all.
        cache_gib: room for decoded media on the disk; 0 keeps none.
        allow_changed: resume although the data has changed.
        allow_missing: a sample may lack some of what the model reads.
    """

    class_names: Sequence[str] = ()
    multilabel: bool = False
    region_names: Sequence[str] = ()
    target_names: Sequence[str] = ()
    split_names: Sequence[str] = EMBEDDED_SPLITS
    on_bad_sample: str = "error"
    max_skipped: float = 0.01
    label_hint: str = "choose other data or another task"
    block: int | None = None
    cache_gib: float = 0.0
    allow_changed: bool = False
    allow_missing: bool = False

    def split(self, name: str) -> Sequence[Sample]:
        """The samples of a split, map-style: `len()` and an integer index.

        Raises:
            ValueError: if there is no split of this name; the message lists those there are.
        """
        raise NotImplementedError

    def split_labels(self, name: str) -> list[Any]:
        """The label of each sample of a split; a source that knows them without decoding says so."""
        return [sample["label"] for sample in self.split(name)]

    def fingerprint(self) -> str:
        """Changes when the data does; empty where it cannot."""
        return ""

    def describe(self) -> list[str]:
        """What was read and how, line by line, where that is not plain."""
        return []

    def hints(self) -> list[str]:
        """What a user may want to set, line by line, each with the setting."""
        return []


@dataclass(frozen=True)
class GeneratedRows(Sequence[Sample]):
    """Samples made when asked for: row i is `make(i)`, which must be a pure function of i and picklable."""

    make: Callable[[int], Sample]
    num_rows: int

    def __len__(self) -> int:
        return self.num_rows

    def __getitem__(self, index: Any) -> Any:
        rows = range(self.num_rows)[index]  # counts from the end and raises IndexError as a list does
        return self.make(rows) if isinstance(rows, int) else [self.make(row) for row in rows]


def check_split(name: str, splits: Iterable[str] = EMBEDDED_SPLITS) -> str:
    """Return `name` if it is one of `splits`; raise ValueError listing them if not."""
    if name not in splits:
        raise ValueError(f"there is no split {name!r}; there are {', '.join(splits)}.")
    return name


def check_at_least(minimum: float, **knobs: float) -> None:
    """Raise ValueError for the first knob below `minimum`, by its name."""
    for knob, value in knobs.items():
        if value < minimum:
            raise ValueError(f"{knob}={value} is below {minimum}.")


def hash_split(key: str | int, val_fraction: float, seed: str | int = 0) -> str:
    """The split, "train" or "val", of the sample that `key` identifies.

    It depends on the arguments only, in every process: a sample keeps its split when others are added, and
    a larger `val_fraction` only moves samples from train to val.

    Raises:
        ValueError: if `val_fraction` is not between 0 and 1.
    """
    if not 0 <= val_fraction <= 1:
        raise ValueError(f"val_fraction={val_fraction} is not between 0 and 1.")
    return "val" if digest_share(seed, key) < val_fraction else "train"


def digest_share(*key: str | int) -> float:
    """A number in [0, 1) that depends on `key` only."""
    return _digest(*key) / 2**128


def generator(*key: str | int) -> np.random.Generator:
    """A counter-based random generator (Philox) that depends on `key` only, such as (seed, split, index)."""
    return np.random.Generator(np.random.Philox(key=_digest(*key)))


def _digest(*key: str | int) -> int:
    """128 bits of SHA-256; Python's own hash differs from process to process."""
    text = "/".join(str(part) for part in key)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")


def class_names(source: Source) -> list[str]:
    """What a classifier's yaml asks the data: the names of the labels 0, 1, 2, ...

    Raises:
        ValueError: if the data has no classes.
    """
    if source.class_names:
        return list(source.class_names)
    if source.target_names:
        raise ValueError(f"the labels are numbers ({shown(source.target_names)}); use task=regression.")
    raise ValueError(f"the data has no labels to classify; {source.label_hint}.")


def shown(names: Sequence[str], num: int = 3) -> str:
    """The first names, for a message."""
    return ", ".join(names[:num]) + (", ..." if len(names) > num else "")

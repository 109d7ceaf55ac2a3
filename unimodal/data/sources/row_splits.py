"""Which rows are trained on and which are validated: given splits, a made validation split, or folds."""

import re
from collections.abc import Callable, Sequence

from unimodal.data.decoding.encoded import BadSample
from unimodal.data.sources.base import shown
from unimodal.data.sources.labels import class_counts, sort_names
from unimodal.data.sources.policy import Policy
from unimodal.data.sources.rows import MediaRows
from unimodal.data.sources.splits import make_folds, make_val, share_of

ByName = dict[str, list[int]]


class RowSplits:
    """Divides rows into splits by their ids, or by their content where no id is given.

    Args:
        samples: the rows' media.
        id_column: the column of ids, or None.
        policy: what the user asks for.
        classes: from a row to its classes; none for numbers and for rows without labels.

    Attributes:
        problems: rows whose content cannot be read, each with the reason.
        notes: what a user should know of how the splits were made.
        group_key: the setting that groups samples; empty where none does.
        makes_val: whether the validation split is made of training samples.
    """

    def __init__(
        self,
        samples: MediaRows,
        id_column: str | None,
        policy: Policy,
        classes: Callable[[int], list[str]],
    ):
        self.samples, self.id_column, self.policy, self.classes = samples, id_column, policy, classes
        self.problems, self.notes = list[str](), list[str]()
        self.group_key = f"data.columns.id={id_column}" if id_column else ""
        self.pattern = re.compile(policy.id_pattern) if policy.id_pattern else None
        self.makes_val = False
        if id_column and self.pattern:
            raise ValueError(
                f"data.columns.id={id_column} and data.id_pattern={policy.id_pattern} both say which samples "
                "belong together; one of them is expected: set data.columns.id=none or data.id_pattern=null."
            )
        if self.pattern:
            self.group_key = "data.id_pattern"

    def divide(self, usable: Sequence[int], given: Sequence[str | None]) -> ByName:
        """Return the rows of each split; one may be empty where the data has too few rows.

        Raises:
            ValueError: if nothing can be trained on, or there are fewer groups than folds.
        """
        by_name: ByName = {}
        whole = "val" if self.policy.val_fraction is None else "train"
        for row in usable:
            by_name.setdefault(given[row] or whole, []).append(row)
        if self.policy.val_fraction is None or not by_name:
            return by_name
        if "train" not in by_name:
            have = ", ".join(by_name)
            raise ValueError(f"the data has no training part, only {have}; name it with data.splits.train.")
        self.makes_val = self.policy.folds is not None or "val" not in by_name
        if self.policy.folds is not None:
            return by_name | self._fold(by_name, self.policy.folds)
        if self.makes_val:
            return by_name | self._made(by_name["train"], self.policy.val_fraction)
        if self.pattern:
            self.notes.append("data.id_pattern is not used: the data has a validation split of its own")
        return by_name

    def share(self, rows: Sequence[int]) -> list[int]:
        """Return the training rows that `train_fraction` leaves."""
        fraction = self.policy.train_fraction
        keys, kept = self._keys(rows)
        chosen = share_of(keys, fraction, self.policy.seed)
        used = [row for row, use in zip(kept, chosen, strict=True) if use]
        if not used:
            raise ValueError(f"data.train_fraction={fraction} leaves none of {len(rows)} training samples.")
        self.notes.append(
            f"train: {len(used):,} of {len(rows):,} samples, by a hash of their "
            f"{'id' if self.group_key else 'content'} (data.train_fraction={fraction}{self._by()})"
        )
        return used

    def _made(self, rows: Sequence[int], fraction: float) -> ByName:
        keys, kept = self._keys(rows)
        chosen = make_val(keys, [self.classes(row) for row in kept], fraction, self.policy.seed)
        made = _parted(kept, chosen)
        how = f"{self._groups(keys, chosen)}by a hash of their {'id' if self.group_key else 'content'}"
        self._note(made, f"{how} (data.val_fraction={fraction}{self._by()})")
        return made

    def _fold(self, by_name: ByName, num_folds: int) -> ByName:
        if self.policy.fold is None:
            raise ValueError(
                f"data.folds={num_folds} without data.fold describes {num_folds} validation splits, and one "
                f"is expected here; set data.fold=K, from 1 to {num_folds}. unimodal train alone trains all."
            )
        if "val" in by_name:
            self.notes.append(
                f"the given validation split ({len(by_name['val']):,} samples) is not used: "
                f"data.folds={num_folds} validates on parts of the training split"
            )
        keys, kept = self._keys(by_name["train"])
        num_keys, what = len(set(keys)), "groups" if self.group_key else "different samples"
        if num_keys < num_folds:
            raise ValueError(
                f"data.folds={num_folds} is more than the {num_keys} {what} of the training split"
                f"{self._by(' (', ')')}; each fold needs one. "
                + (f"Set data.folds to {num_keys} or less." if num_keys > 1 else "Set data.folds=null.")
            )
        classes = [self.classes(row) for row in kept]
        folds = make_folds(keys, classes, num_folds, self.policy.seed, bool(self.group_key))
        chosen = [fold == self.policy.fold - 1 for fold in folds]
        made = _parted(kept, chosen)
        place = f"data.fold={self.policy.fold} of data.folds={num_folds}"
        self._note(made, f"{self._groups(keys, chosen)}{place}{self._by(' (', ')')}")
        return made

    def _by(self, before: str = ", ", after: str = "") -> str:
        return f"{before}{self.group_key}{after}" if self.group_key else ""

    def _groups(self, keys: Sequence[str], chosen: Sequence[bool]) -> str:
        """Return how many groups are held out of how many; nothing where no setting groups samples."""
        if not self.group_key:
            return ""
        held = {key for key, val in zip(keys, chosen, strict=True) if val}
        return f"{len(held):,} of {len(set(keys)):,} groups, "

    def _note(self, made: ByName, how: str) -> None:
        """Tell the size of a made validation split, and classes that are on one side only."""
        num_val, num_all = len(made["val"]), len(made["val"]) + len(made["train"])
        self.notes.append(f"val: {num_val:,} of {num_all:,} training samples, {how}")
        counts = {name: class_counts([self.classes(row) for row in rows]) for name, rows in made.items()}
        if num_val and (missing := sort_names(set(counts["train"]) - set(counts["val"]))):
            self.notes.append(f"val has no sample of {len(missing)} classes: {shown(missing, 10)}")
        if missing := sort_names(set(counts["val"]) - set(counts["train"])):
            self.notes.append(
                f"train has no sample of {len(missing)} classes ({shown(missing, 10)}): their samples in val "
                "count as errors"
            )

    def _keys(self, rows: Sequence[int]) -> tuple[list[str], list[int]]:
        """What identifies each row, its id or content, and the rows of which that can be said."""
        keys, kept = [], []
        ids = self.samples.rows.column(self.id_column) if self.id_column else None
        for row in rows:
            try:
                keys.append(str(ids[row]) if ids is not None else self._key(row))
                kept.append(row)
            except BadSample as error:
                self.problems.append(str(error))
        return keys, kept

    def _key(self, row: int) -> str:
        """Return the id by the file's name, or the content, of a row and those that stay with it."""
        together = self.samples.rows.siblings(row)
        if not self.pattern:
            return "/".join(self.samples.key(one) for one in together)
        found = {self._id(one) for one in together}
        if len(found) > 1:
            raise ValueError(
                f"{self.samples.rows.where(row)}: the files of one row have several ids by data.id_pattern: "
                f"{', '.join(sorted(found))}; one is expected. Change data.id_pattern, or set it to null."
            )
        return found.pop()

    def _id(self, row: int) -> str:
        assert self.pattern is not None
        name = self.samples.file_name(row)
        if name is None:
            raise ValueError(
                f"{self.samples.rows.where(row)} names no file, in which data.id_pattern could be searched; "
                "group rows by a column with data.columns.id=NAME, and set data.id_pattern=null."
            )
        if (group := id_in(self.pattern, name)) is None:
            raise ValueError(
                f"{name} does not match data.id_pattern={self.pattern.pattern}, and every file must have an "
                "id; correct data.id_pattern, or set it to null."
            )
        return group


def id_in(pattern: re.Pattern[str], name: str) -> str | None:
    """Return the first group of a match in a file's name, or the whole match; None without a match."""
    match = pattern.search(name)
    return None if match is None else match[1 if pattern.groups else 0]


def _parted(rows: Sequence[int], chosen: Sequence[bool]) -> ByName:
    return {
        split: [row for row, val in zip(rows, chosen, strict=True) if val == (split == "val")]
        for split in ("train", "val")
    }

"""Which columns, or parts of file names, look like speakers, patients, takes or documents.

Samples of one group resemble each other: where they are on both sides of a split, validation is too easy.
Only what is plain is named. A running number, the class itself, a constant and groups of one sample are none.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from unimodal.data.sources.base import shown

WORDS = (
    *(
        "speaker",
        "spk",
        "subject",
        "subj",
        "sub",
        "patient",
        "pat",
        "participant",
        "person",
        "actor",
        "singer",
    ),
    *("signer", "writer", "author", "user", "client", "worker", "session", "ses", "doc", "document", "group"),
    *("case", "study", "family", "animal"),
)
COLUMN = re.compile(rf"(?:{'|'.join(WORDS)})s?(?:_?(?:id|name|no|nr|number|key|uid))?")
CODE = re.compile(rf"(?:{'|'.join(WORDS)}|[sp])[-_]?\d+", re.IGNORECASE)  # S01, sub-03, speaker7
NAME = re.compile(r"[^\W\d_]{2,}")  # letters alone: jackson
SEPARATORS = "_- "
MIN_MEAN = 2.0  # samples a group, of those that a word names
MIN_PLAIN = 4.0  # and of those that only their pattern suggests
MIN_NAMES = 3
CODED_PARTS = 5  # of a name such as 03-01-06-01-02-01-12.wav, whose last part is the actor


@dataclass(frozen=True)
class Grouped:
    """Samples by a value that may be their group."""

    values: Sequence[str]
    classes: Sequence[str]

    def plausible(self, least: float) -> bool:
        """Whether the values make groups: several, of several samples each, that are not the classes."""
        sizes = Counter(self.values)
        if len(sizes) < 2 or len(sizes) * least > len(self.values):
            return False
        groups_of = defaultdict[str, set[str]](set)
        for value, name in zip(self.values, self.classes, strict=True):
            groups_of[name].add(value)
        return len(groups_of) < 2 or any(len(groups) > 1 for groups in groups_of.values())

    def crossed(self) -> bool:
        """Whether every group has samples of most classes, as speakers have who say all words."""
        classes_of = defaultdict[str, set[str]](set)
        for value, name in zip(self.values, self.classes, strict=True):
            classes_of[value].add(name)
        most = max(len(set(self.classes)) / 2, 2)
        return all(len(names) >= most for names in classes_of.values())

    def described(self) -> str:
        """The number of groups and some of them."""
        names = sorted(set(self.values))
        return f"{len(names):,} values ({shown(names)}) for {len(self.values):,} samples"


def is_group_name(column: str, used: Collection[str | None]) -> bool:
    """Whether a column is named as groups are, such as patient_id, and nothing else is read from it."""
    return column not in used and COLUMN.fullmatch(column.strip().lower()) is not None


def column_hints(columns: Mapping[str, Sequence[object]], classes: Sequence[str]) -> Iterator[str]:
    """Yield a line for each column whose values make groups.

    Args:
        columns: values of the training samples by column, of those that are named as groups are.
        classes: of the same samples, in any form that compares.
    """
    for name, values in columns.items():
        if any(value in (None, "") for value in values):
            continue
        grouped = Grouped([str(value) for value in values], classes)
        if grouped.plausible(MIN_MEAN):
            yield (
                f"the column {name} may be groups (speakers, patients, takes): {grouped.described()}; "
                f"if so, data.columns.id={name} keeps each "
                "on one side of the validation split"
            )


def name_hints(names: Sequence[str], classes: Sequence[str]) -> Iterator[str]:
    """Yield a line on the part of the files' names that may be groups, or none.

    Args:
        names: of the training samples' files, relative to the data, with `/`.
        classes: of the same samples, in any form that compares.
    """
    found = _by_folder(names, classes) or _by_part(names, classes)
    if found:
        what, pattern, grouped = found
        yield (
            f"{what} of the file names may be groups (speakers, patients, takes): {grouped.described()}; "
            f"if so, 'data.id_pattern=\"{pattern}\"' keeps each on one side of the validation split"
        )


Found = tuple[str, str, Grouped]


def _by_folder(names: Sequence[str], classes: Sequence[str]) -> Found | None:
    """A folder right above the files that is named as groups are, such as speaker_07."""
    folders = [name.split("/")[-2] if "/" in name else "" for name in names]
    if not all(CODE.fullmatch(folder) for folder in folders):
        return None
    grouped = Grouped(folders, classes)
    return ("the last folder", "([^/]+)/[^/]*$", grouped) if grouped.plausible(MIN_MEAN) else None


def _by_part(names: Sequence[str], classes: Sequence[str]) -> Found | None:
    """The part between separators that is named as groups are; else the only one that every class shares."""
    stems = [name.rpartition("/")[2].partition(".")[0] for name in names]
    plain = list[Found]()
    for separator in SEPARATORS:
        split = [stem.split(separator) for stem in stems]
        num = min(map(len, split), default=0)
        if num < 2:
            continue
        even, coded = num == max(map(len, split)), _coded(split)
        for index in range(num):
            grouped = Grouped([parts[index] for parts in split], classes)
            found = (f"part {index + 1}", _pattern(separator, index), grouped)
            if all(CODE.fullmatch(value) for value in grouped.values) and grouped.plausible(MIN_MEAN):
                return found
            letters = all(NAME.fullmatch(value) for value in grouped.values)
            last = coded and index == num - 1
            known = letters and len(set(grouped.values)) >= MIN_NAMES
            if even and (known or last) and grouped.plausible(MIN_PLAIN) and grouped.crossed():
                plain.append(found)
    return plain[0] if len(plain) == 1 else None


def _coded(split: Sequence[Sequence[str]]) -> bool:
    """Whether all parts are two digits, the last with the most values: 03-01-06-01-02-01-12."""
    num = len(split[0])
    if num < CODED_PARTS or any(len(parts) != num for parts in split):
        return False
    if not all(len(part) == 2 and part.isdecimal() for parts in split for part in parts):
        return False
    counts = [len(set(column)) for column in zip(*split, strict=True)]
    return counts[-1] >= 2 * max(counts[:-1])


def _pattern(separator: str, index: int) -> str:
    """The regular expression of a part of the file's name."""
    before = f"[^{separator}/]*{separator}"
    skipped = before * index if index < 2 else f"(?:{before}){{{index}}}"
    return f"(?:^|/){skipped}([^{separator}/.]+)[^/]*$"

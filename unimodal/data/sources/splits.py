"""Which sample is in which split: given ones are kept, a missing val part is made by a hash."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from unimodal.data.sources.base import digest_share

SPLITS = ("train", "val", "test")
ALIASES = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "development", "eval", "evaluation"), "val"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}


class SplitNames:
    """What the data calls its splits.

    Args:
        names: what the user says, such as {"test": "holdout"}; None or nothing: the usual names.
    """

    def __init__(self, names: Mapping[str, Any] | None = None):
        said = {split: str(name) for split, name in (names or {}).items() if name is not None}
        unknown = [split for split in said if split not in SPLITS]
        if unknown:
            raise ValueError(f"data.splits.{unknown[0]} is unknown; there are {', '.join(SPLITS)}.")
        self.said = {name: split for split, name in said.items()}
        self.seen: dict[str, str] = {}  # by split, the name that the data has for it

    def __contains__(self, name: str) -> bool:
        return name in self.said or ALIASES.get(name.lower()) is not None

    def canonical(self, name: str, where: str) -> str:
        """`train`, `val` or `test`.

        Raises:
            ValueError: for a name that means none of them, as no sample is dropped silently, and for a second
                name of the same split, as no two splits are merged silently.
        """
        if name in self.said:
            return self.said[name]
        split = ALIASES.get(name.lower())
        if split is None or split in self.said.values():
            raise ValueError(
                f"{where}: {name!r} is no known split (train, val, test and their usual other names); "
                f"say what it is with data.splits.test={name}, or leave it out (a column by "
                "data.columns.split=none)."
            )
        other = self.seen.setdefault(split, name)
        if other.lower() != name.lower():
            raise ValueError(
                f"{where}: {other!r} and {name!r} are both names of the split {split}; rename one, or name "
                f"both, such as data.splits.{split}={name} data.splits.test={other}."
            )
        return split


def make_val(
    keys: Sequence[str], classes: Sequence[Sequence[str]], fraction: float, seed: int = 0
) -> list[bool]:
    """Which training samples go to the made val part.

    Each sample's hash alone decides, so that it stays where it is when others are added, and rows with the
    same key (content, or id) are never on both sides. Only a class too small for that gives the key with the
    lowest hash; and no class goes to val as a whole.

    Args:
        keys: what identifies each sample.
        classes: those of each sample; none for numbers and for samples without labels.
        fraction: share of val, more than 0 and less than 1.
        seed: another seed, another split.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"data.val_fraction={fraction} is not between 0 and 1.")
    shares = {key: digest_share(seed, key) for key in keys}
    members: dict[str, set[str]] = defaultdict(set)  # of each class, and of all together
    for key, names in zip(keys, classes, strict=True):
        for name in (*names, ""):
            members[name].add(key)
    held = {key for key, share in shares.items() if share < fraction}
    for name in sorted(members):
        if len(members[name]) > 1 and not members[name] & held:
            held.add(min(members[name], key=shares.__getitem__))
    for name in sorted(members):
        if members[name] <= held:
            held.remove(max(members[name], key=shares.__getitem__))
    return [key in held for key in keys]


def share_of(keys: Sequence[str], fraction: float, seed: int = 0) -> list[bool]:
    """Which samples are among a share of all, by a hash of their keys.

    A smaller share is a part of a larger one. It does not depend on which samples `make_val` took.
    """
    return [digest_share("share", seed, key) < fraction for key in keys]

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

    def __init__(self, names: Mapping[str, str | None] | None = None):
        said = {split: name for split, name in (names or {}).items() if name}
        unknown = [split for split in said if split not in SPLITS]
        if unknown:
            raise ValueError(f"data.splits.{unknown[0]} is unknown; there are {', '.join(SPLITS)}.")
        self.said = {str(name): split for split, name in said.items()}

    def __contains__(self, name: str) -> bool:
        return name in self.said or ALIASES.get(name.lower()) is not None

    def canonical(self, name: str, where: str) -> str:
        """`train`, `val` or `test`.

        Raises:
            ValueError: for a name that means none of them: no sample is dropped silently.
        """
        if name in self.said:
            return self.said[name]
        split = ALIASES.get(name.lower())
        if split is None or split in self.said.values():
            raise ValueError(
                f"{where}: {name!r} is no known split (train, val, test and their usual other names); "
                f"say what it is with data.splits.test={name}, or take it away."
            )
        return split


def make_val(keys: Sequence[str], strata: Sequence[Any], fraction: float, seed: int = 0) -> list[bool]:
    """Which training samples go to the made val part.

    Each sample's hash alone decides, so that it stays where it is when others are added, and the same
    content is never on both sides. Only a class too small for that gives the sample with the lowest hash, or
    keeps the one with the highest.

    Args:
        keys: what identifies each sample: its content, or its id.
        strata: the class of each, or None.
        fraction: share of val, more than 0 and less than 1.
        seed: another seed, another split.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"data.val_fraction={fraction} is not between 0 and 1.")
    shares = [digest_share(seed, key) for key in keys]
    groups: dict[Any, list[int]] = defaultdict(list)
    for index, stratum in enumerate(strata):
        groups[stratum].append(index)
    chosen = [share < fraction for share in shares]
    for rows in groups.values():
        distinct = sorted({shares[i] for i in rows})
        num_chosen = sum(share < fraction for share in distinct)
        if len(distinct) > 1 and num_chosen in (0, len(distinct)):
            limit = distinct[0] if num_chosen == 0 else distinct[-2]
            for i in rows:
                chosen[i] = shares[i] <= limit
    return chosen

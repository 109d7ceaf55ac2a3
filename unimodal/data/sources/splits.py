"""Which sample is in which split: given ones are kept, a missing val part is made, evenly, by a hash."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from heapq import heapify, heapreplace
from itertools import accumulate
from typing import Any

from unimodal.data.sources.base import digest_share

SPLITS = ("train", "val", "test")
Members = dict[str, Counter[str]]  # of each class, how many rows each key has
SLACK = 10  # a class may give a tenth more or less than its share
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
    """Choose the training samples that go to the made validation split.

    Each class gives its share to within a tenth, and at least one key and not all where it has two or more.
    Which samples these are depends on their hashes: those below `fraction`, or, where that is too uneven, the
    lowest. So most samples stay on their side when others are added: of 408 samples of 7 classes about 4
    change sides when 41 more come, of classes of ten thousand hardly any. No rule that knows only the present
    data can promise both an even share and that no sample ever moves.

    Of samples with several classes the rarest class is served first, and what it gives counts for the others.

    Args:
        keys: what identifies each sample (content, or id); rows with the same key are never on both sides.
        classes: those of each sample; none for numbers and for samples without labels.
        fraction: share of val, more than 0 and less than 1.
        seed: another seed, another split.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"data.val_fraction={fraction} is not between 0 and 1.")
    shares = {key: digest_share(seed, key) for key in keys}
    members = _members(keys, classes)
    held, decided = set[str](), set[str]()
    for name in sorted(members, key=lambda name: (members[name].total(), name)):
        held |= _lowest(members[name], shares, fraction, held, decided)
        decided |= members[name].keys()
    for name in sorted(members):
        if members[name].keys() <= held:
            held.remove(max(members[name], key=shares.__getitem__))
    held = held or _spare(members, shares)
    return [key in held for key in keys]


def make_folds(
    keys: Sequence[str],
    classes: Sequence[Sequence[str]],
    num_folds: int,
    seed: int = 0,
    grouped: bool = False,
) -> list[int]:
    """Divide the training samples into folds of cross-validation; returns the fold of each, from 0.

    Every sample is in exactly one fold, and those with the same key are in the same one. It depends on keys,
    classes and seed only, not on the order of the samples. Every fold gets a key if there are enough.

    Keys of single samples are ordered by their hashes, and those of each class are cut into runs of equal
    length, so that a few samples more move few others. Of samples with several classes the rarest class is
    served first. Groups of samples go one by one, the largest first, to the fold that has least of their
    classes, as with scikit-learn's `StratifiedGroupKFold`.

    Args:
        keys: what identifies each sample (content, or id).
        classes: those of each sample; none for numbers and for samples without labels.
        num_folds: 2 or more.
        seed: another seed, other folds.
        grouped: keys are ids of groups, which may be few and of different sizes.
    """
    shares = {key: digest_share("folds", seed, key) for key in keys}
    members = _members(keys, classes)
    crowded = 4 * num_folds * max(Counter(keys).values(), default=0) > len(keys)  # much of a fold is one key
    fold_of = (_spread if grouped or crowded else _cut)(members, shares, num_folds)
    return [fold_of[key] for key in keys]


def _cut(members: Members, shares: Mapping[str, float], num_folds: int) -> dict[str, int]:
    """Folds of equal size within each class: runs of keys in the order of their hashes."""
    fold_of, sizes = dict[str, int](), [0] * num_folds
    for name in sorted(members, key=lambda name: (members[name].total(), name)):
        rows, have = members[name], [0] * num_folds
        for key in rows.keys() & fold_of.keys():
            have[fold_of[key]] += rows[key]
        free = sorted(rows.keys() - fold_of.keys(), key=shares.__getitem__)
        ends = list(accumulate(_even(have, sizes, sum(rows[key] for key in free))))
        fold, cut = 0, 0
        for key in free:
            while fold < num_folds - 1 and cut + rows[key] / 2 > ends[fold]:
                fold += 1
            fold_of[key] = fold
            sizes[fold] += rows[key]
            cut += rows[key]
    return fold_of


def _even(have: Sequence[int], sizes: Sequence[int], num: int) -> list[int]:
    """How many of `num` rows each fold gets: first those that have least of the class, then the smallest."""
    heap = [(own, size, fold) for fold, (own, size) in enumerate(zip(have, sizes, strict=True))]
    heapify(heap)
    for _ in range(num):
        own, size, fold = heap[0]
        heapreplace(heap, (own + 1, size + 1, fold))
    return [own - have[fold] for own, _, fold in sorted(heap, key=lambda one: one[2])]


def _spread(members: Members, shares: Mapping[str, float], num_folds: int) -> dict[str, int]:
    """Folds of whole groups; an empty fold costs nothing, so none stays empty."""
    groups: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for name in sorted(members):
        for key, num in members[name].items():
            groups[key].append((name, num))
    totals = {name: rows.total() for name, rows in members.items()}
    have, sizes, fold_of = [Counter[str]() for _ in range(num_folds)], [0] * num_folds, dict[str, int]()

    def cost(key: str, fold: int) -> tuple[float, int, int]:
        same = sum(num * have[fold][name] / totals[name] ** 2 for name, num in groups[key])
        return same, sizes[fold], fold

    num_rows = {key: sum(num for _, num in group) for key, group in groups.items()}
    for key in sorted(groups, key=lambda key: (-num_rows[key], shares[key])):
        fold_of[key] = fold = min(range(num_folds), key=partial(cost, key))
        have[fold].update(dict(groups[key]))
        sizes[fold] += num_rows[key]
    return fold_of


def _members(keys: Sequence[str], classes: Sequence[Sequence[str]]) -> Members:
    """Of each class, its rows by key; "" stands for no class."""
    members: Members = defaultdict(Counter)
    for key, names in zip(keys, classes, strict=True):
        for name in names or ("",):
            members[name][key] += 1
    return members


def _spare(members: Members, shares: Mapping[str, float]) -> set[str]:
    """The smallest key without which every class still has one, in a set; empty if there is none."""
    needed = {next(iter(rows)) for rows in members.values() if len(rows) == 1}
    sizes = sum(members.values(), Counter[str]())
    spare = sorted(shares.keys() - needed, key=lambda key: (sizes[key], shares[key]))
    return set(spare[:1])


def _lowest(
    rows: Mapping[str, int], shares: Mapping[str, float], fraction: float, held: set[str], decided: set[str]
) -> set[str]:
    """The undecided keys of a class that go to val; `rows` has how many rows each key has in the class."""
    total, have = sum(rows.values()), sum(num for key, num in rows.items() if key in held)
    quota = min(max(round(fraction * total), 1), total - 1)
    below = sum(num for key, num in rows.items() if shares[key] < fraction)
    wanted = min(max(below, quota - quota // SLACK), quota + quota // SLACK)
    chosen: set[str] = set()
    free = sorted(rows.keys() - decided, key=shares.__getitem__)
    for key in free:
        if have + rows[key] / 2 <= wanted:  # nearer to what is wanted with it than without
            chosen.add(key)
            have += rows[key]
    if not have and len(rows) > 1 and free:
        chosen.add(min(free, key=lambda key: (rows[key], shares[key])))
    return chosen


def share_of(keys: Sequence[str], fraction: float, seed: int = 0) -> list[bool]:
    """Which samples are among a share of all, by a hash of their keys.

    A smaller share is a part of a larger one. It does not depend on which samples `make_val` took.
    """
    return [digest_share("share", seed, key) < fraction for key in keys]

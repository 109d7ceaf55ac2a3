"""What `unimodal check-data` has to say of a data set: counts, sizes, advice, mistakes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unimodal.data.inspection import Inspected

BAR = 40  # characters
RARE = 20  # a class that is so many times smaller than the largest is worth a remark


@dataclass
class Survey:
    """All that was found; errors make the command fail."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # how the data was read, and what of it was not
    counts: dict[str, Counter[str]] = field(default_factory=dict)  # split: class: samples
    samples: Counter[str] = field(default_factory=Counter)  # by split
    sizes: dict[str, list[float]] = field(default_factory=dict)
    tokens: list[int] = field(default_factory=list)

    def add(self, found: Inspected, classes: Sequence[str]) -> None:
        """Count one sample."""
        self.warnings += [f"{found.where}: {warning}" for warning in found.warnings]
        if found.error:
            self.errors.append(found.error)
            return
        self.counts.setdefault(found.split, Counter()).update(classes or [""])
        self.samples[found.split] += 1
        for name, size in found.sizes.items():
            self.sizes.setdefault(name, []).append(size)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for report.json."""
        return {
            "errors": self.errors,
            "warnings": self.warnings,
            "advice": self.advice,
            "notes": self.notes,
            "counts": {split: dict(counts) for split, counts in self.counts.items()},
            "sizes": {name: quantiles(values) for name, values in self.sizes.items()},
            "tokens": quantiles(self.tokens),
        }


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Smallest, median, 95% and largest; empty for no values."""
    if not len(values):
        return {}
    places = {"min": 0.0, "median": 0.5, "95%": 0.95, "max": 1.0}
    return {name: round(float(np.quantile(values, q)), 3) for name, q in places.items()}


def count_lines(counts: Mapping[str, Counter[str]], samples: Counter[str]) -> list[str]:
    """A table: one line a class, one column a split."""
    splits = list(counts)
    names = sorted(set().union(*counts.values()), key=lambda name: (-counts[splits[0]][name], name))
    shown = names[:30]
    width = max(len(name) for name in [*shown, "all"])
    lines = [f"  {'':<{width}}" + "".join(f"{split:>10}" for split in splits)]
    if names != [""]:
        lines += [f"  {n:<{width}}" + "".join(f"{counts[s][n]:>10,}" for s in splits) for n in shown]
    if len(names) > len(shown):
        lines.append(f"  ... and {len(names) - len(shown)} classes more")
    return [*lines, f"  {'all':<{width}}" + "".join(f"{samples[s]:>10,}" for s in splits)]


def histogram(name: str, values: Sequence[float], bins: int = 8) -> list[str]:
    """Bars of text; one line where all values are the same."""
    low, high = min(values), max(values)
    if low == high:
        return [f"  {name}: {low:g} throughout"]
    counts, edges = np.histogram(values, bins=bins)
    lines = [f"  {name}: {low:g} to {high:g}, median {np.median(values):g}"]
    for count, left, right in zip(counts, edges[:-1], edges[1:], strict=True):
        bar = "#" * int(-(-count * BAR // counts.max()))
        lines.append(f"    {left:>9.4g} - {right:<9.4g} {count:>8,} {bar}")
    return lines


def class_remarks(counts: Mapping[str, Counter[str]]) -> list[str]:
    """Rare classes of the training part, and classes that differ in case only."""
    train = counts.get("train", Counter())
    if len(train) < 2:
        return []
    remarks = []
    largest, most = train.most_common(1)[0]
    rare = [f"{name} ({count})" for name, count in train.items() if count * RARE < most]
    if rare:
        remarks.append(
            f"few samples against {largest} ({most}): {', '.join(rare[:10])}; "
            "loader.balanced=true or task.class_weights.scheme=balanced evens that out"
        )
    single = [name for name, count in train.items() if count == 1]
    if single:
        remarks.append(f"one training sample only: {', '.join(single[:10])}")
    folded = Counter(name.lower() for name in train)
    remarks += [f"classes that differ in case only: {name}" for name, count in folded.items() if count > 1]
    return remarks

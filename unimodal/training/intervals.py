"""Bootstrap intervals beside the metrics of a run: their names in metrics.json, and how they are printed."""

from collections.abc import Mapping
from typing import Any

from unimodal.tasks.intervals import Intervals
from unimodal.tasks.learner import Learner

SUFFIX = "_interval"


def interval_metrics(learner: Learner, split: str) -> dict[str, list[float]]:
    """Return the 95% intervals of the last validation, such as `val/accuracy_interval: [0.96, 0.99]`."""
    named: dict[str, list[float]] = {}
    for source, task in learner.by_source.items():
        named |= interval_names(task.intervals(), f"{split}/{source}".rstrip("/"))
    return named


def interval_names(intervals: Intervals, place: str) -> dict[str, list[float]]:
    """Return intervals by their names in metrics.json, of a split or of a source in it."""
    return {f"{place}/{name}{SUFFIX}": interval for name, interval in intervals.items()}


def metric_rows(metrics: Mapping[str, Any], digits: str = ".4f") -> dict[str, str]:
    """Return the printed metrics of the splits, each with its interval."""
    rows = {}
    for name, value in metrics.items():
        if not name.startswith(("val/", "test/", "train/")) or name.endswith(SUFFIX):
            continue
        rows[name] = f"{value:,}" if isinstance(value, int) else f"{value:{digits}}"
        if f"{name}{SUFFIX}" in metrics:
            low, high = metrics[f"{name}{SUFFIX}"]
            num = metrics[f"{name.rpartition('/')[0]}/num_samples"]
            rows[name] += f" (95% interval {low:{digits}} to {high:{digits}}, {num:,} samples)"
    return rows

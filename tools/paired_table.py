"""A markdown table of paired runs: the same seeds for each variant, differences to the first variant.

A difference is called better or worse from two standard errors of the paired differences on. With three seeds
that is weak evidence (two-sided p = 0.18 at two standard errors), so the table also gives p of the t-test.
"""

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import t as student  # a dependency of scikit-learn

LOWER = {"loss", "bits_per_byte", "perplexity", "mae", "rmse", "wer", "cer", "skipped", "median_rank"}
HIGHER = {
    *(
        "accuracy",
        "top5_accuracy",
        "knn_accuracy",
        "probe_accuracy",
        "f1",
        "micro_f1",
        "macro_f1",
        "precision",
    ),
    *("recall", "mean_recall", "map", "miou", "exact_match", "bleu", "r2"),
}
NUMBERS = {"loss", "bits_per_byte", "perplexity", "mae", "rmse", "skipped", "median_rank", "r2"}  # no shares
ERRORS = 2.0  # standard errors from which on a difference is shown
TINY = 1e-9  # differences below are rounding


@dataclass(frozen=True)
class Variant:
    """What one choice gave.

    Attributes:
        name: of the choice.
        overrides: of the command line.
        runs: metrics.json of each seed, in the order of the seeds.
    """

    name: str
    overrides: str
    runs: Sequence[Mapping[str, Any]]

    def values(self, metric: str) -> list[float]:
        """The metric of each seed."""
        return [float(run[metric]) for run in self.runs]


def direction(metric: str) -> str:
    """Return `min` or `max`: which of two values of a metric is better.

    Raises:
        ValueError: for a metric that is not known.
    """
    name = _last(metric)
    if name in LOWER or name in HIGHER:
        return "min" if name in LOWER else "max"
    raise ValueError(f"{metric} is not a known metric; set mode (--mode) to min or max, whichever is better.")


def table(variants: Sequence[Variant], metric: str, mode: str, seeds: Sequence[int]) -> list[str]:
    """Return the lines of the table; the first variant is what the others are compared with."""
    first = variants[0]
    baselines = [_baseline(one, metric) for one in variants]
    head = ["variant", "overrides", *(f"seed {seed}" for seed in seeds), "mean", "deviation"]
    head += [f"difference to {first.name}", "seeds won, tied, lost", "parameters without heads", "time"]
    head += ["baseline"] * any(baselines)
    rows = [
        [*_cells(one, first, metric, mode), *([baseline] if any(baselines) else [])]
        for one, baseline in zip(variants, baselines, strict=True)
    ]
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]


def _cells(one: Variant, first: Variant, metric: str, mode: str) -> list[str]:
    values, sign = one.values(metric), 1 if mode == "max" else -1
    differences = [own - other for own, other in zip(values, first.values(metric), strict=True)]
    gains = [sign * difference for difference in differences]
    counts = (
        sum(gain > TINY for gain in gains),
        sum(abs(gain) <= TINY for gain in gains),
        sum(gain < -TINY for gain in gains),
    )
    middle, others = (statistics.median(float(run["seconds"]) for run in v.runs) for v in (one, first))
    is_first = one is first
    return [
        one.name,
        f"`{one.overrides}`" if one.overrides else "none",
        *(shown(metric, value) for value in values),
        shown(metric, statistics.fmean(values)),
        _size(metric, statistics.stdev(values)) if len(values) > 1 else "",
        "" if is_first else compared(metric, mode, differences),
        "" if is_first else ", ".join(map(str, counts)),
        f"{int(one.runs[0]['parameters']):,}",
        f"{middle / others:.2f} ({middle:,.0f} s)",
    ]


def compared(metric: str, mode: str, differences: Sequence[float]) -> str:
    """Return the mean of the paired differences, its standard error, and what they show."""
    num, mean = len(differences), statistics.fmean(differences)
    if not math.isfinite(mean):
        return "not finite"
    sign = "-" if mean < 0 else "+"
    if num == 1:
        return f"{sign}{_size(metric, mean)}; one seed, no difference shown"
    error = statistics.stdev(differences) / math.sqrt(num)
    size = f"{sign}{_size(metric, mean, error)}"
    if abs(mean) <= max(TINY, ERRORS * error):
        return f"{size}; no difference shown"
    verdict = "better" if (mean > 0) == (mode == "max") else "worse"
    if error <= TINY:  # p would be 0, which so few values cannot show
        return f"{size}; {verdict}, by the same in each seed"
    return f"{size}; {verdict} (p = {2 * student.sf(abs(mean) / error, num - 1):.2g})"


def shown(metric: str, value: float) -> str:
    """Return a value as a percentage where the metric is a share, else as a number."""
    return f"{value:.4g}" if _last(metric) in NUMBERS else f"{value:.2%}"


def _size(metric: str, *values: float) -> str:
    """A difference without its sign, or a difference and its error."""
    if _last(metric) in NUMBERS:
        return " \u00b1 ".join(f"{abs(value):.2g}" for value in values)
    return " \u00b1 ".join(f"{100 * abs(value):.2f}" for value in values) + " points"


def _baseline(one: Variant, metric: str) -> str:
    """The baseline of the same metric, else ""; it has the same splits in each seed."""
    baseline = one.runs[0].get("baseline") or {}
    return shown(metric, float(baseline["value"])) if baseline.get("metric") == metric else ""


def _last(metric: str) -> str:
    """`accuracy` of `val/image/accuracy`, `recall` of `val/image_to_text_r10`."""
    name = metric.rpartition("/")[2]
    return "recall" if re.search(r"_r\d+$", name) else re.sub(r"^.*_(?=median_rank$)", "", name)

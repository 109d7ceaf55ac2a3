"""Bootstrap intervals of validation metrics (Efron 1979, doi 10.1214/aos/1176344552): resampled over samples.

An interval goes from the 2.5th to the 97.5th percentile of a metric over 1,000 resamples, each of as many
samples as the validation has, drawn with replacement. It tells what other validation samples would change,
not what another seed would. Samples of all batches and processes are brought into one order before any is
drawn, and the seed is fixed, so that neither batch size nor number of processes matters.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from unimodal.tasks.sums import OwnDtype, widest
from unimodal.types import IGNORED

RESAMPLES = 1000
PERCENTILES = (2.5, 97.5)
MAX_SAMPLES = 100_000  # of metrics that need each sample; with more the interval is too narrow to matter
MAX_CLASSES = 1000  # of which pairs of label and prediction are counted
MAX_CELLS = 50_000  # different pairs
CHUNK = 4_000_000  # numbers that are drawn at a time

Floats = NDArray[np.float64]
Intervals = dict[str, list[float]]


class Confusion(OwnDtype):
    """How often each class is predicted for each label: int64 [C, C + 1]; the last column is of no class.

    Args:
        num_classes: C.
    """

    pairs: Tensor

    def __init__(self, num_classes: int):
        super().__init__()
        self.shape = (num_classes, num_classes + 1)
        self.add_state("pairs", torch.zeros(self.shape, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, said: Tensor, labels: Tensor) -> None:
        """Int classes [B], those of `decided`; where the label is -100 nothing counts."""
        rows = labels != IGNORED
        cells = labels[rows] * self.shape[1] + said[rows]
        self.pairs += cells.bincount(minlength=self.pairs.numel()).view(self.shape)

    def compute(self) -> Tensor:
        """The counts, [C, C + 1]."""
        return self.pairs


class SampleRows(OwnDtype):
    """Numbers of each sample, [N, K], of which a metric is made that no sum over samples gives."""

    rows: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("rows", [], dist_reduce_fx="cat")

    def update(self, *columns: Tensor) -> None:
        """Add samples: columns [B] or [B, K]."""
        wide = [
            column.to(widest()) if column.ndim > 1 else column.to(widest())[:, None] for column in columns
        ]
        self.rows.append(torch.cat(wide, 1))

    def compute(self) -> Tensor:
        """All rows, of all processes."""
        return dim_zero_cat(self.rows) if len(self.rows) else torch.zeros(0, 0)


def ordered(rows: Tensor) -> Floats:
    """Rows in the order of their values, [N, K], so that the order of samples does not matter."""
    values = rows.double().cpu().numpy()
    return values[np.lexsort(values.T)] if values.size else values


def class_intervals(pairs: Tensor) -> Intervals:
    """Intervals of `accuracy` and macro `f1`.

    Drawing samples with replacement draws the counts of the cells from a multinomial distribution, so that
    no sample has to be kept.

    Args:
        pairs: counts of label and prediction, int [C, C + 1].
    """
    counts = pairs.cpu().numpy()
    labels, said = counts.nonzero()
    values, num_classes = counts[labels, said], len(counts)
    num = int(values.sum())
    if not num:
        return {}
    if len(values) > MAX_CELLS:
        return accuracy_interval(int(counts.diagonal().sum()), num)
    generator, found = np.random.default_rng(0), dict[str, list[Floats]](accuracy=[], f1=[])
    for size in _chunks(len(values)):
        drawn = generator.multinomial(num, values / num, size)
        right = _sums(drawn * (labels == said), labels, num_classes)
        both = _sums(drawn, labels, num_classes) + _sums(drawn, said, num_classes + 1)[:, :-1]
        with np.errstate(invalid="ignore"):
            found["f1"].append(np.nanmean(2 * right / both, 1))
        found["accuracy"].append(right.sum(1) / num)
    return _intervals(found)


def accuracy_interval(num_right: int, num: int) -> Intervals:
    """The interval of `accuracy` alone: the number of right predictions in a resample is binomial."""
    if not num:
        return {}
    drawn = np.random.default_rng(0).binomial(num, num_right / num, RESAMPLES)
    return _intervals({"accuracy": [drawn / num]})


def sample_intervals(num: int, metrics: Callable[[Floats], Mapping[str, Floats]]) -> Intervals:
    """Intervals of metrics that need each sample; none for more than 100,000 samples.

    Args:
        num: of samples.
        metrics: from how often each sample is in each resample, [R, N], to the metrics of each, [R].
    """
    if not 0 < num <= MAX_SAMPLES:
        return {}
    generator, found = np.random.default_rng(0), dict[str, list[Floats]]()
    for size in _chunks(num):
        drawn = generator.integers(0, num, (size, num)) + num * np.arange(size)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=size * num).reshape(size, num)
        for name, values in metrics(weights.astype(np.float64)).items():
            found.setdefault(name, []).append(values)
    return _intervals(found)


def ratio(weights: Floats, numerators: Floats, denominators: Floats) -> Floats:
    """A sum over samples by another, of each resample."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return (weights @ numerators) / (weights @ denominators)


def _sums(drawn: NDArray[np.int64], groups: NDArray[np.int64], num_groups: int) -> Floats:
    """Sums over the cells of each group: [R, cells] -> [R, groups]."""
    order = groups.argsort(kind="stable")
    present, starts = np.unique(groups[order], return_index=True)
    sums = np.zeros((len(drawn), num_groups))
    sums[:, present] = np.add.reduceat(drawn[:, order], starts, axis=1)
    return sums


def _chunks(width: int) -> Iterator[int]:
    """How many resamples to draw at a time, each of `width` numbers."""
    most = max(CHUNK // width, 1)
    for done in range(0, RESAMPLES, most):
        yield min(most, RESAMPLES - done)


def _intervals(found: Mapping[str, list[Floats]]) -> Intervals:
    """Percentiles over all resamples; metrics that some resample does not have are left out."""
    values = {name: np.concatenate(parts) for name, parts in found.items()}
    return {
        name: [float(value) for value in np.percentile(one, PERCENTILES)]
        for name, one in values.items()
        if np.isfinite(one).all()
    }

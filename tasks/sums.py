"""Sums over batches and processes, of which metrics are made: exact, and NaN where something was NaN."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from unimodal.types import IGNORED


def widest() -> torch.dtype:
    """The dtype that sums are kept in: float64, or float32 on a machine with MPS, which has no float64."""
    return torch.float32 if torch.backends.mps.is_available() else torch.float64


class OwnDtype(Metric):
    """A metric whose sums keep their dtype when the model is converted, as by `trainer.precision=bf16-true`.

    A sum of ones in bf16 ends at 256.
    """

    full_state_update = False

    def _apply(self, fn: Callable[[Tensor], Tensor], *rest: Any, **options: Any) -> "OwnDtype":
        return super()._apply(lambda tensor: fn(tensor).to(tensor.dtype), *rest, **options)  # type: ignore[return-value]


class Mean(OwnDtype):
    """A weighted mean. In contrast to torchmetrics' a NaN makes it NaN; there such a batch is left out."""

    total: Tensor
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("total", "weight"):
            self.add_state(name, torch.zeros((), dtype=widest()), dist_reduce_fx="sum")

    def update(self, value: Tensor, weight: Tensor | float = 1.0) -> None:
        """Values of any shape, and one weight for all or one for each."""
        weights = torch.as_tensor(weight, device=value.device).to(self.total.dtype).expand(value.shape)
        self.total += (value.to(self.total.dtype) * weights).sum().to(self.total.device)
        self.weight += weights.sum().to(self.weight.device)

    def compute(self) -> Tensor:
        """Scalar float32, NaN where nothing was counted."""
        return (self.total / self.weight).float()


class Sum(OwnDtype):
    """The sum of all values; NaN if one of them is NaN."""

    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=widest()), dist_reduce_fx="sum")

    def update(self, value: Tensor | float) -> None:
        """Add values of any shape."""
        self.total += torch.as_tensor(value, device=self.total.device).to(self.total.dtype).sum()

    def compute(self) -> Tensor:
        """Return the sum, a scalar."""
        return self.total


class ClassCounts(OwnDtype):
    """How often each class is right, in the labels, and predicted: int64 [C] each.

    Accuracy, F1 and intersection over union are scikit-learn's. Classes that neither labels nor predictions
    have are NaN and do not count in a `mean` of classes, as with scikit-learn's default `labels`.

    Args:
        num_classes: C.
    """

    right: Tensor
    labels: Tensor
    said: Tensor

    def __init__(self, num_classes: int):
        super().__init__()
        self.num_classes = num_classes
        for name in ("right", "labels", "said"):
            self.add_state(name, torch.zeros(num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, said: Tensor, labels: Tensor) -> None:
        """Int classes of the same shape, those of `decided`; where the label is -100 nothing counts."""
        said, labels = said[labels != IGNORED], labels[labels != IGNORED]
        self.right += self._count(labels[said == labels])
        self.labels += self._count(labels)
        self.said += self._count(said)

    def _count(self, classes: Tensor) -> Tensor:
        return classes.bincount(minlength=self.num_classes)[: self.num_classes]

    def compute(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of each class, how often it is right, in the labels, and predicted: [C] each."""
        return self.right.to(widest()), self.labels.to(widest()), self.said.to(widest())

    def accuracy(self) -> Tensor:
        """Share of all decisions that are right; NaN where there was none."""
        right, labels, _ = self.compute()
        return (right.sum() / labels.sum()).float()

    def intersection_over_union(self) -> Tensor:
        """Of each class, [C]: right / (labels + predictions - right); NaN for a class that is in neither."""
        right, labels, said = self.compute()
        return right / (labels + said - right)

    def f1(self) -> Tensor:
        """Of each class, [C]: 2 right / (labels + predictions); NaN for a class that is in neither."""
        right, labels, said = self.compute()
        return 2 * right / (labels + said)

    def micro_f1(self) -> Tensor:
        """F1 of all decisions together; 0 where nothing is in the labels or predicted."""
        right, labels, said = (counts.sum() for counts in self.compute())
        return (2 * right / (labels + said).clamp_min(1)).float()


class TagCounts(ClassCounts):
    """Counts of labels and predictions [B, C], where any number of classes applies to a row."""

    def update(self, said: Tensor, labels: Tensor) -> None:
        """Which classes apply, bool [B, C]; all rows count."""
        self.right += (said & labels).sum(0)
        self.labels += labels.sum(0)
        self.said += said.sum(0)


def decided(logits: Tensor, dim: int = -1) -> Tensor:
    """The class of the largest logit; the number of classes, which no label is, where logits are not finite.

    NaN, and an infinite logit, would be the largest, so that a model that has broken down is right wherever
    its first class is. What is of no class counts as wrong.
    """
    best = logits.max(dim)
    return best.indices.masked_fill(~best.values.isfinite(), logits.shape[dim])


def mean(values: Tensor) -> Tensor:
    """The mean of those that are not NaN, float32; 0 where all are."""
    return torch.nan_to_num(values.nanmean()).float()

"""Figures of many small decisions: which class was said how often where which one is right."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from unimodal.types import IGNORED


class Confusion(MulticlassConfusionMatrix):
    """Counts [C, C], rows are labels, columns what was said; sums, whatever the batches and processes.

    Classes that neither labels nor predictions have do not count in any mean.

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int):
        super().__init__(num_classes, ignore_index=IGNORED)

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Int classes of the same shape; where the label is -100 nothing counts."""
        super().update(preds.flatten(), target.flatten())

    def accuracy(self) -> Tensor:
        """Share of all decisions that are right; NaN where there was none."""
        counts: Any = self.compute()
        return counts.trace() / counts.sum()

    def intersection_over_union(self) -> Tensor:
        """Of each class, [C]: right / (labels + said - right); NaN for a class that is absent from both."""
        right, both = self._right_and_both()
        return right / (both - right)

    def f1(self) -> Tensor:
        """Of each class, [C]: 2 right / (labels + said); NaN for a class that is absent from both."""
        right, both = self._right_and_both()
        return 2 * right / both

    def _right_and_both(self) -> tuple[Tensor, Tensor]:
        counts: Any = self.compute()
        return counts.diagonal().double(), (counts.sum(0) + counts.sum(1)).double()


def mean(values: Tensor) -> Tensor:
    """Of those that are no NaN, float32; 0 where all are."""
    return torch.nan_to_num(values.nanmean()).float()

"""Numbers for a sample."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MeanAbsoluteError, MeanSquaredError, MetricCollection, R2Score

from unimodal.tasks.objective import Objective, counted


class Numeric(Objective):
    """`mae` and `rmse` in the data's units and `r2`, each the mean over the numbers.

    Logits are in units of the standard deviation, and so is what the metrics add up: squares of large numbers
    would lose the digits that matter.

    Args:
        names: of the numbers.
        mean: of each in training.
        std: of each in training, more than 0.
        entry_loss: from two [B, K] to [B, K].
    """

    metric_modes: Mapping[str, str] = {"mae": "min", "rmse": "min", "r2": "max"}
    mean: Tensor
    std: Tensor

    def __init__(
        self, names: Sequence[str], mean: Sequence[float], std: Sequence[float], entry_loss: nn.Module
    ):
        super().__init__()
        if not len(names) == len(mean) == len(std):
            raise ValueError(f"there are {len(mean)} means and {len(std)} stds for {', '.join(names)}.")
        if not all(one > 0 for one in std):
            raise ValueError(f"target_std={list(std)} must be more than 0.")
        self.names, self.entry_loss = list(names), entry_loss
        self.places = [
            max(0, 2 - math.floor(math.log10(one))) for one in std
        ]  # three digits of std are shown
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32), persistent=False)
        some = torch.zeros(2, len(names))
        if entry_loss(some, some).shape != some.shape:
            raise ValueError("the loss must be that of each entry; set task.loss.reduction=none.")
        self.metrics = MetricCollection(
            {
                "mae": MeanAbsoluteError(num_outputs=len(names)),
                "rmse": MeanSquaredError(squared=False, num_outputs=len(names)),
                "r2": R2(multioutput="raw_values"),
            },
            compute_groups=False,
        )

    def loss(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Of a row, the mean over its numbers."""
        losses, rows = self.entry_loss(logits, self._standard(labels)).mean(1), counted(labels)
        return torch.where(rows, losses, 0.0).sum(), rows.sum()

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Logits and labels [B, K]."""
        rows = counted(labels)
        self.metrics.update(logits[rows], self._standard(labels)[rows])

    def compute(self) -> dict[str, Tensor]:
        """`mae`, `rmse`, `r2`; resets them."""
        figures = super().compute()
        units = {"mae": self.std, "rmse": self.std, "r2": torch.ones_like(self.std)}
        return {name: (figure * units[name]).mean() for name, figure in figures.items()}

    def predict(self, logits: Tensor) -> Tensor:
        """In the data's units."""
        return logits * self.std + self.mean

    def answer(self, logits: Tensor, top_k: int) -> list[dict[str, Any]]:
        """One column a number."""
        return [dict(zip(self.names, row, strict=True)) for row in self.predict(logits).tolist()]

    def describe(self, logits: Tensor, labels: Tensor) -> list[str]:
        """Name, label and prediction: `age 31.0 -> 28.4, height 1.820 -> 1.743`."""
        rows = zip(labels.tolist(), self.predict(logits).tolist(), strict=True)
        return [", ".join(map(_described, self.names, self.places, *row)) for row in rows]

    def _standard(self, labels: Tensor) -> Tensor:
        return (labels.float() - self.mean) / self.std


class R2(R2Score):
    """The coefficient of determination; nan for fewer than two samples, where torchmetrics raises."""

    def compute(self) -> Tensor:
        """One figure a number."""
        return super().compute() if self.total >= 2 else torch.full_like(self.residual, torch.nan)


def _described(name: str, places: int, number: float, guess: float) -> str:
    return f"{name} {number:.{places}f} -> {guess:.{places}f}"

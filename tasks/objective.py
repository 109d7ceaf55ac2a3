"""What is learned of a whole sample: the part of a pooled task that knows what its labels are."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from unimodal.tasks.intervals import Intervals
from unimodal.types import IGNORED


class Objective(nn.Module):
    """A loss, figures, and words for an output. A subclass writes all of it.

    Labels are int [B] for one class a sample, else float [B, C or K]; a row that does not count is -100.

    Attributes:
        monitor: the figure that says which checkpoint is best.
        mode: `min` or `max`, which of two such figures is better.
        metric_modes: `min` or `max` of each metric, by name.
    """

    monitor: str = "val/loss"
    mode: str = "min"
    metric_modes: Mapping[str, str] = {}

    def fit_targets(self, labels: Tensor) -> Tensor:
        """What logits are fitted to, of labels that count; the labels themselves where those are classes."""
        return labels

    def loss(self, logits: Tensor, labels: Tensor, share: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The sum over counted rows, and how many they are or what they weigh: two scalars.

        Args:
            logits: [B, C or K].
            labels: of the rows.
            share: float [B], how much of each row counts; None: all of it.
        """
        raise NotImplementedError

    def mixed_loss(
        self, logits: Tensor, labels: Tensor, others: Tensor, share: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The loss of rows that are mixtures of two samples, and what they weigh.

        Each of the two labels counts in proportion to its share of the row and, as ever, by the weight of its
        class; with both, `label_smoothing` spreads the same part of each.

        Args:
            logits: [B, C or K].
            labels: of the sample that has `share` of the row.
            others: of the sample that has the rest.
            share: float [B].
        """
        total, count = self.loss(logits, labels, share)
        other_total, other_count = self.loss(logits, others, 1 - share)
        return total + other_total, count + other_count

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Take one validation batch into account."""
        raise NotImplementedError

    def compute(self) -> dict[str, Tensor]:
        """The figures of the whole validation; resets them."""
        raise NotImplementedError

    def intervals(self) -> Intervals:
        """The 95% bootstrap intervals of the metrics that `compute` returned last; by default of none."""
        return {}

    def predict(self, logits: Tensor) -> Tensor:
        """What the head's outputs mean, float of the same shape."""
        raise NotImplementedError

    def answer(self, logits: Tensor, top_k: int) -> list[dict[str, Any]]:
        """What is said of each row to a user, by column; `top_k` classes where there are classes."""
        raise NotImplementedError

    def describe(self, logits: Tensor, labels: Tensor) -> list[str]:
        """One line a row, label and prediction; all rows count."""
        raise NotImplementedError


def ranked(names: Sequence[str], probabilities: Tensor, top_k: int) -> dict[str, Any]:
    """The likeliest classes of one row: `top_1`, `probability_1`, `top_2`, ..."""
    best = probabilities.topk(min(top_k, len(names)))
    columns: dict[str, Any] = {}
    for place, (index, p) in enumerate(zip(best.indices.tolist(), best.values.tolist(), strict=True), 1):
        columns |= {f"top_{place}": names[index], f"probability_{place}": round(p, 6)}
    return columns


def counted(labels: Tensor) -> Tensor:
    """Which rows count, bool [B]."""
    real = labels != IGNORED
    return real if labels.ndim == 1 else real.any(1)

"""Any number of classes a sample."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.classification import binary_average_precision
from torchmetrics.utilities import dim_zero_cat

from unimodal.tasks.intervals import Floats, Intervals, ordered, sample_intervals
from unimodal.tasks.objective import Objective, counted, ranked
from unimodal.tasks.sums import OwnDtype, TagCounts, widest

MAX_SCORES = 200_000  # of which the intervals are drawn: samples times classes


class MultiLabel(Objective):
    """Binary cross-entropy, the mean over classes; `map`, and `micro_f1` and `macro_f1`.

    The metrics are scikit-learn's. `map` is the mean over those classes that apply to some row; of the others
    the precision is not defined. Logits that are not finite predict nothing and rank last.

    Args:
        class_names: of the columns of the labels, float [B, C] of 0 and 1.
        class_weights: how much more a class counts where it applies than where it does not, as torch's
            `pos_weight`; None: as much.
    """

    monitor = "val/map"
    mode = "max"
    metric_modes: Mapping[str, str] = {"map": "max", "micro_f1": "max", "macro_f1": "max"}
    weight: Tensor

    def __init__(self, class_names: Sequence[str], class_weights: Sequence[float] | None = None):
        super().__init__()
        self.class_names, num_classes = list(class_names), len(class_names)
        weight = torch.ones(num_classes) if class_weights is None else torch.tensor(class_weights)
        self.register_buffer("weight", weight.float(), persistent=False)
        self.last_scores, self.last_labels = torch.zeros(0, num_classes), torch.zeros(0, num_classes).bool()
        self.average_precision, self.tag_counts = MacroAveragePrecision(), TagCounts(num_classes)

    def loss(self, logits: Tensor, labels: Tensor, share: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Each row counts once, whatever applies to it."""
        losses = F.binary_cross_entropy_with_logits(
            logits, labels.float(), pos_weight=self.weight, reduction="none"
        ).mean(1)
        rows = counted(labels)
        losses, weights = (losses, rows) if share is None else (losses * share, rows * share)
        return torch.where(rows, losses, 0.0).sum(), weights.sum()

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Logits and labels [B, C]; F1 is that of the guesses with a probability above 1/2."""
        rows = counted(labels)
        logits, labels = logits[rows].nan_to_num(-torch.inf, -torch.inf, -torch.inf), labels[rows] == 1
        self.average_precision.update(logits, labels)
        self.tag_counts.update(logits > 0, labels)

    def compute(self) -> dict[str, Tensor]:
        """`map`, `micro_f1` and `macro_f1`; resets them."""
        metrics = {
            "map": self.average_precision.compute(),
            "micro_f1": self.tag_counts.micro_f1(),
            "macro_f1": self.tag_counts.f1().nan_to_num(0).mean().float(),
        }
        self.last_scores, self.last_labels = self.average_precision.last
        self.average_precision.reset()
        self.tag_counts.reset()
        return metrics

    def intervals(self) -> Intervals:
        """Of `map`, `micro_f1` and `macro_f1`; none where samples times classes are more than 200,000."""
        if self.last_scores.numel() > MAX_SCORES:
            return {}
        rows, num_classes = ordered(torch.cat((self.last_scores, self.last_labels), 1)), len(self.class_names)
        scores, labels = rows[:, :num_classes], rows[:, num_classes:] > 0
        hits, said = (labels & (scores > 0)).astype(np.float64), (scores > 0).astype(np.float64)
        ranks = [_Ranking(scores[:, c], labels[:, c]) for c in np.flatnonzero(labels.any(0))]

        def metrics(weights: Floats) -> dict[str, Floats]:
            right, counts = weights @ hits, weights @ labels + weights @ said
            precisions = [ranking.average_precision(weights) for ranking in ranks]
            f1 = {
                "micro_f1": 2 * right.sum(1) / counts.sum(1).clip(1),
                "macro_f1": (2 * right / counts.clip(1)).mean(1),
            }
            return f1 | ({"map": np.nanmean(precisions, 0)} if precisions else {})

        return sample_intervals(len(labels), metrics)

    def predict(self, logits: Tensor) -> Tensor:
        """The probability of each class on its own."""
        return logits.sigmoid()

    def answer(self, logits: Tensor, top_k: int) -> list[dict[str, Any]]:
        """`prediction`, classes above 1/2 joined by `|`, and the likeliest with their probabilities."""
        return [
            {"prediction": "|".join(self.class_names[i] for i in (row > 0.5).nonzero()[:, 0].tolist())}
            | ranked(self.class_names, row, top_k)
            for row in self.predict(logits)
        ]

    def describe(self, logits: Tensor, labels: Tensor) -> list[str]:
        """Labels, guesses with their probabilities, the surest first: `rose, red -> rose (0.80)`."""
        return [
            f"{self._named(row) or 'nothing'} -> {self._guessed(guess) or 'nothing'}"
            for row, guess in zip(labels, self.predict(logits), strict=True)
        ]

    def _named(self, row: Tensor) -> str:
        return ", ".join(self.class_names[i] for i in row.nonzero()[:, 0].tolist())

    def _guessed(self, row: Tensor) -> str:
        ordered = row.sort(descending=True)
        guesses = zip(ordered.indices.tolist(), ordered.values.tolist(), strict=True)
        return ", ".join(f"{self.class_names[i]} ({p:.2f})" for i, p in guesses if p > 0.5)


class MacroAveragePrecision(OwnDtype):
    """The mean over those classes that apply to some row of the precision at each recall."""

    scores: list[Tensor]
    labels: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.last = torch.zeros(0, 0), torch.zeros(0, 0).bool()  # all scores and labels of the last `compute`
        self.add_state("scores", [], dist_reduce_fx="cat")
        self.add_state("labels", [], dist_reduce_fx="cat")

    def update(self, scores: Tensor, labels: Tensor) -> None:
        """Logits float [B, C], which do not become equal where they are large as probabilities do; bool."""
        self.scores.append(scores)
        self.labels.append(labels)

    def compute(self) -> Tensor:
        """Scalar, NaN where no class applies to any row."""
        self.last = dim_zero_cat(self.scores), dim_zero_cat(self.labels)
        columns = zip(*(values.T for values in self.last), strict=True)
        precisions = [
            binary_average_precision(_places(scores), labels.long(), validate_args=False)
            for scores, labels in columns
            if labels.any()
        ]
        if not precisions:
            return torch.tensor(torch.nan, device=self.device)
        return torch.stack(precisions).mean().float()


def _places(scores: Tensor) -> Tensor:
    """The order of the scores as numbers from 0 to 1, which torchmetrics does not take for logits."""
    values, places = scores.unique(return_inverse=True)
    return places.to(widest()) / len(values)


class _Ranking:
    """The samples in the order of one class's scores, to be weighed anew in each resample.

    Args:
        scores: [N].
        labels: bool [N].
    """

    def __init__(self, scores: Floats, labels: Any):
        self.order = np.argsort(-scores, kind="stable")
        self.labels, ordered = labels[self.order], scores[self.order]
        self.ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(scores) - 1)  # of equal scores

    def average_precision(self, weights: Floats) -> Floats:
        """Of each resample, [R, N] -> [R]; NaN where the class applies to none of its samples."""
        drawn = weights[:, self.order]
        right = (drawn * self.labels).cumsum(1)[:, self.ends]
        above = drawn.cumsum(1)[:, self.ends]
        with np.errstate(invalid="ignore"):
            return (np.diff(right, prepend=0) * right / above.clip(1)).sum(1) / right[:, -1]

"""Any number of classes a sample."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MetricCollection
from torchmetrics.classification import MultilabelAveragePrecision, MultilabelF1Score
from torchmetrics.functional.classification import multilabel_average_precision
from torchmetrics.utilities import dim_zero_cat

from unimodal.tasks.objective import Objective, counted, ranked
from unimodal.types import IGNORED


class MultiLabel(Objective):
    """Binary cross-entropy, the mean over classes; `map`, and `micro_f1` and `macro_f1`.

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
        self.metrics = MetricCollection(
            {
                "map": MacroAveragePrecision(num_classes, ignore_index=IGNORED),
                "micro_f1": MultilabelF1Score(num_classes, average="micro", ignore_index=IGNORED),
                "macro_f1": MultilabelF1Score(num_classes, average="macro", ignore_index=IGNORED),
            },
            compute_groups=False,
        )

    def loss(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Each row counts once, whatever applies to it."""
        losses = F.binary_cross_entropy_with_logits(
            logits, labels.float(), pos_weight=self.weight, reduction="none"
        ).mean(1)
        rows = counted(labels)
        return torch.where(rows, losses, 0.0).sum(), rows.sum()

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Logits and labels [B, C]; F1 is that of the guesses with a probability above 1/2."""
        self.metrics.update(self.predict(logits), labels.long())

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


class MacroAveragePrecision(MultilabelAveragePrecision):
    """The mean over those classes that apply to some sample; torchmetrics takes the others for 0."""

    def compute(self) -> Tensor:  # type: ignore[override]  # the class it derives from gives curves
        """Scalar, nan where no class applies to any sample."""
        probabilities, labels = dim_zero_cat(self.preds), dim_zero_cat(self.target)
        there = (labels == 1).any(0)
        if not there.any():
            return probabilities.new_tensor(torch.nan)
        return multilabel_average_precision(
            probabilities[:, there],
            labels[:, there],
            num_labels=int(there.sum()),
            ignore_index=self.ignore_index,
            validate_args=False,
        )

"""One class a sample."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from unimodal.tasks.intervals import MAX_CLASSES, Confusion, Intervals, class_intervals
from unimodal.tasks.objective import Objective, counted, ranked
from unimodal.tasks.sums import ClassCounts, Mean, decided, mean
from unimodal.types import IGNORED

TOP = 5


class SingleLabel(Objective):
    """Cross-entropy; `accuracy`, `f1` (macro), and `top5_accuracy` where there are more than five classes.

    A row has the weight of its own class, whatever `label_smoothing` is. torch's cross-entropy multiplies the
    smoothed share of each other class by the weight of that class: at a ratio of about 19 to 1 its minimum on
    separable data is the wrong class.

    The metrics are scikit-learn's: `f1` is the mean over the classes that labels or predictions have. A row
    whose logits are not finite counts as wrong.

    Args:
        class_names: names of the labels 0, 1, 2, ...
        class_weights: weight of the rows of each class in the loss; None: all weights are 1.
        label_smoothing: share of the target that is spread over all classes, in training.
    """

    monitor = "val/accuracy"
    mode = "max"
    metric_modes: Mapping[str, str] = {"accuracy": "max", "f1": "max", "top5_accuracy": "max"}
    weight: Tensor

    def __init__(
        self,
        class_names: Sequence[str],
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
    ):
        super().__init__()
        self.class_names, self.label_smoothing = list(class_names), label_smoothing
        weight = torch.ones(len(class_names)) if class_weights is None else torch.tensor(class_weights)
        self.register_buffer("weight", weight.float(), persistent=False)
        self.class_counts = ClassCounts(len(class_names))
        self.confusion = Confusion(len(class_names)) if len(class_names) <= MAX_CLASSES else None
        self.last_pairs = torch.zeros(0, 1)  # of the last validation
        self.in_top = Mean() if len(class_names) > TOP else None

    def loss(self, logits: Tensor, labels: Tensor, share: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the weighted sum over counted rows, and the sum of their weights."""
        smoothing = self.label_smoothing if self.training else 0.0
        losses = F.cross_entropy(
            logits, labels, ignore_index=IGNORED, label_smoothing=smoothing, reduction="none"
        )
        weights = self.weight[labels.clamp_min(0)] * counted(labels)
        weights = weights if share is None else weights * share
        return (weights * losses).sum(), weights.sum()

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Logits [B, C], labels int [B]."""
        rows, said = counted(labels), decided(logits)
        self.class_counts.update(said, labels)
        if self.confusion is not None:
            self.confusion.update(said, labels)
        if self.in_top is not None:
            found = (logits.topk(TOP).indices == labels[:, None]).any(1) & (said < logits.shape[1])
            self.in_top.update(found[rows])

    def compute(self) -> dict[str, Tensor]:
        """The metrics of the whole validation, and `top5_accuracy` where it says something; resets them."""
        metrics = {"accuracy": self.class_counts.accuracy(), "f1": mean(self.class_counts.f1())}
        self.class_counts.reset()
        if self.confusion is not None:
            self.last_pairs = self.confusion.compute().cpu()
            self.confusion.reset()
        if self.in_top is not None:
            metrics[f"top{TOP}_accuracy"] = self.in_top.compute()
            self.in_top.reset()
        return metrics

    def intervals(self) -> Intervals:
        """Of `accuracy` and `f1`; none for more than 1,000 classes."""
        return class_intervals(self.last_pairs)

    def predict(self, logits: Tensor) -> Tensor:
        """Probabilities, which sum to 1."""
        return logits.softmax(-1)

    def answer(self, logits: Tensor, top_k: int) -> list[dict[str, Any]]:
        """`prediction`, and the likeliest classes with their probabilities."""
        return [
            {"prediction": self.class_names[int(row.argmax())]} | ranked(self.class_names, row, top_k)
            for row in self.predict(logits)
        ]

    def describe(self, logits: Tensor, labels: Tensor) -> list[str]:
        """Label, guess and its probability: `rose -> daisy (0.61)`."""
        best, name = self.predict(logits).max(-1), self.class_names
        rows = zip(labels.tolist(), best.indices.tolist(), best.values.tolist(), strict=True)
        return [f"{name[label]} -> {name[guess]} ({p:.2f})" for label, guess, p in rows]

"""One label for a whole sample, of any modality."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from unimodal.data.examples import LabelledExamples
from unimodal.model import Unimodal
from unimodal.tasks.base import Output, Task
from unimodal.types import IGNORED, Batch


class Classification(Task):
    """Pool the encoded tokens, then one linear layer; cross-entropy.

    Args:
        model: tokenizers and backbone.
        class_names: of the labels 0, 1, 2, ...
        pooling: from tokens [B, N, D] to vectors [B, D].
        label_smoothing: share of the target that is spread over all classes, in training.
        head_norm: a LayerNorm before the linear layer.
        causal: read the sample with causal attention, as a language model does.
    """

    monitor = "val/accuracy"
    mode = "max"

    def __init__(
        self,
        model: Unimodal,
        class_names: Sequence[str],
        pooling: nn.Module,
        label_smoothing: float = 0.0,
        head_norm: bool = False,
        causal: bool = False,
    ):
        super().__init__(model)
        if len(class_names) < 2:
            raise ValueError(f"classification needs two classes or more; the data has {list(class_names)}.")
        self.class_names, self.pooling = list(class_names), pooling
        self.label_smoothing, self.causal = label_smoothing, causal
        dim, num_classes = model.backbone.dim, len(self.class_names)
        self.head_norm = nn.LayerNorm(dim) if head_norm else nn.Identity()
        self.head = nn.Linear(dim, num_classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.metrics = _metrics(num_classes)
        self.shown: list[str] = []

    @staticmethod
    def examples(
        samples: Any,
        preprocess: Mapping[str, Any],
        training: bool,
        augment: Callable | None = None,
        seed: int = 0,
    ) -> Dataset:
        """Tensors of each sample with its label."""
        return LabelledExamples(samples, preprocess, augment, seed)

    def forward(self, batch: Batch) -> Output:
        """`labels` int [B]; logits [B, C]."""
        tokens = self.model(batch, causal=self.causal)
        logits = self.head(self.head_norm(self.pooling(tokens))).float()
        labels = batch["labels"]
        count = (labels != IGNORED).sum()
        smoothing = self.label_smoothing if self.training else 0.0
        total = F.cross_entropy(
            logits, labels, ignore_index=IGNORED, label_smoothing=smoothing, reduction="sum"
        )
        return Output(total / count.clamp_min(1), count, logits, tokens)

    def on_validation_epoch_start(self) -> None:
        """What an earlier validation left to show is old."""
        self.shown = []

    def update_metrics(self, output: Output, batch: Batch) -> None:
        """Accuracy and F1; keeps the first batch to show."""
        self.metrics.update(output.logits, batch["labels"])
        if not self.shown:
            self.shown = self._describe(output.logits, batch["labels"])

    def compute_metrics(self) -> dict[str, Tensor]:
        """`accuracy`, `f1` (macro), and `top5_accuracy` where there are more than five classes."""
        figures = self.metrics.compute()
        self.metrics.reset()
        return figures

    def samples(self) -> list[str]:
        """Label, prediction and its probability for the first validation examples."""
        shown, self.shown = self.shown, []
        return shown

    def _describe(self, logits: Tensor, labels: Tensor, num: int = 8) -> list[str]:
        best = logits[:num].softmax(-1).max(-1)
        rows = zip(labels[:num].tolist(), best.indices.tolist(), best.values.tolist(), strict=True)
        name = self.class_names
        return [f"{name[label]} -> {name[guess]} ({p:.2f})" for label, guess, p in rows if label != IGNORED]


def _metrics(num_classes: int) -> MetricCollection:
    metrics: dict[str, Any] = {
        "accuracy": MulticlassAccuracy(num_classes, average="micro", ignore_index=IGNORED),
        "f1": MulticlassF1Score(num_classes, average="macro", ignore_index=IGNORED),
    }
    if num_classes > 5:
        metrics["top5_accuracy"] = MulticlassAccuracy(
            num_classes, top_k=5, average="micro", ignore_index=IGNORED
        )
    return MetricCollection(metrics, compute_groups=False)

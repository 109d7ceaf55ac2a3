"""The losses that the run was trained with, for fine-tuning with transformers' Trainer."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from unimodal.hub.portable.configuration_unimodal import UnimodalConfig
from unimodal.hub.portable.nodes import make
from unimodal.types import IGNORED


def pooled_loss(config: UnimodalConfig, logits: Tensor, labels: Tensor, training: bool) -> Tensor:
    """Scalar, the mean over rows of [B, C] whose label is not -100; which loss, `config.problem_type` says.

    The run's class weights and target scale hold as long as there are as many labels as in the run.
    """
    if config.problem_type == "regression":
        return _regression_loss(config, logits, labels.reshape(logits.shape).float())
    weight = _of_run(config, "class_weights", logits)
    if config.problem_type == "multi_label_classification":
        entries = F.binary_cross_entropy_with_logits(
            logits, labels.float(), pos_weight=weight, reduction="none"
        )
        return _mean_of_rows(entries, labels)
    smoothing = config.task.get("label_smoothing", 0.0) if training else 0.0
    losses = F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")  # 0 where ignored
    weights = (logits.new_ones(logits.shape[1]) if weight is None else weight)[labels.clamp_min(0)]
    weights = weights * (labels != IGNORED)
    return (weights * losses).sum() / weights.sum().clamp_min(1e-12)


def language_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Scalar, the mean over targets: logits [B, N, V] at place i are of the label [B, N] at i + 1."""
    targets = labels[:, 1:]
    total = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), targets.flatten(), reduction="sum")
    return total / (targets != IGNORED).sum().clamp_min(1)


def data_units(config: UnimodalConfig, logits: Tensor) -> Tensor:
    """Numbers [B, K] as the data has them, from the head's units of the standard deviation."""
    mean, std = _scale(config, logits)
    return logits * std + mean


def _regression_loss(config: UnimodalConfig, numbers: Tensor, labels: Tensor) -> Tensor:
    mean, std = _scale(config, numbers)
    node = config.task.get("loss")
    entry_loss = make(node) if node else torch.nn.MSELoss(reduction="none")
    return _mean_of_rows(entry_loss((numbers - mean) / std, (labels - mean) / std), labels)


def _scale(config: UnimodalConfig, like: Tensor) -> tuple[Tensor, Tensor]:
    mean, std = (_of_run(config, name, like) for name in ("target_mean", "target_std"))
    return like.new_zeros(1) if mean is None else mean, like.new_ones(1) if std is None else std


def _of_run(config: UnimodalConfig, name: str, like: Tensor) -> Tensor | None:
    values: Sequence[float] | None = config.task.get(name)
    return None if values is None or len(values) != like.shape[1] else like.new_tensor(values)


def _mean_of_rows(entries: Tensor, labels: Tensor) -> Tensor:
    rows = (labels != IGNORED).any(1)
    return torch.where(rows, entries.mean(1), 0.0).sum() / rows.sum().clamp_min(1)

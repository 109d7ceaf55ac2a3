"""The probability of a text, all its alignments to frames taken together."""

import torch.nn.functional as F
from torch import Tensor

from unimodal.types import IGNORED


def text_nats(logits: Tensor, num_frames: Tensor, labels: Tensor, blank: int) -> Tensor:
    """-log p(text) of each sample in nats, float [B]; 0, without gradient, where the frames are too few.

    Args:
        logits: float [B, T, C].
        num_frames: int [B], how many of them are real.
        labels: int [B, L], -100 = padding; blanks are no labels.
        blank: the label of no label.
    """
    log_probs = logits.float().log_softmax(-1).transpose(0, 1)  # [T, B, C]
    lengths = num_labels(labels, blank)
    return F.ctc_loss(
        log_probs, labels.clamp_min(0), num_frames, lengths, blank, reduction="none", zero_infinity=True
    )


def num_labels(labels: Tensor, blank: int) -> Tensor:
    """How many labels each text has, int [B]."""
    return _is_label(labels, blank).sum(1)


def frames_needed(labels: Tensor, blank: int) -> Tensor:
    """The fewest frames that hold each text, int [B]: between two equal labels there must be a blank."""
    repeated = (labels[:, 1:] == labels[:, :-1]) & _is_label(labels, blank)[:, 1:]
    return num_labels(labels, blank) + repeated.sum(1)


def _is_label(labels: Tensor, blank: int) -> Tensor:
    return (labels != IGNORED) & (labels != blank)

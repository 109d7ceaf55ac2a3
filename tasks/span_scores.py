"""Spans of words, as tags such as B-PER I-PER O say them, and how many of them are found."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

OUTSIDE = "O"
SPAN_TAG = re.compile(r"[BIESLU]-.+")


class Span(NamedTuple):
    """Words `start` to `end`, the latter not included, are together one `label`."""

    label: str
    start: int
    end: int


def are_span_tags(names: Iterable[str]) -> bool:
    """Whether tags say spans (IOB2, BIO, BIOES, BILOU): each is O or a letter, a dash and a label."""
    others = [name for name in names if name != OUTSIDE]
    return bool(others) and all(SPAN_TAG.fullmatch(name) for name in others)


def spans_of(tags: Sequence[str]) -> list[Span]:
    """The spans that a sequence of tags says, as the CoNLL script `conlleval` reads it, and so does seqeval.

    It is lenient: a span begins at B and S, and at I and E wherever there is none of that label to go on; it
    ends after E and S, and before whatever does not go on. L is read as E, U as S. (The package seqeval,
    whose default this is, is not kept up any more; so it stands here, in a dozen lines.)
    """
    found: list[Span] = []
    label, start = "", None
    for place, tag in enumerate([*tags, OUTSIDE]):
        kind, _, name = tag.partition("-")
        if start is not None and not (kind in "IEL" and name == label):
            found.append(Span(label, start, place))
            start = None
        if tag != OUTSIDE and start is None:
            label, start = name, place
        if kind in "ESLU" and start is not None:
            found.append(Span(label, start, place + 1))
            start = None
    return found


class SpanScores(Metric):
    """Precision, recall and F1 of whole spans: right is one with the right words and the right label.

    All spans weigh the same, whatever their label (micro average). Sums of counts, whatever the batches and
    processes.
    """

    full_state_update = False
    counts: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("counts", torch.zeros(3, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, labels: Sequence[str], said: Sequence[str]) -> None:
        """Tags of one sentence."""
        there, found = set(spans_of(labels)), set(spans_of(said))
        self.counts += self.counts.new_tensor([len(there & found), len(there), len(found)])

    def compute(self) -> dict[str, Tensor]:
        """`f1`, `precision` and `recall`, 0 where there is nothing to divide by."""
        right, there, found = self.counts.float()
        return {
            "f1": 2 * right / (there + found).clamp_min(1),
            "precision": right / found.clamp_min(1),
            "recall": right / there.clamp_min(1),
        }

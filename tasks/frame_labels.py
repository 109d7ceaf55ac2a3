"""Labels of stretches of sound on the tokens that stand there in time."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from unimodal.tasks.span_scores import OUTSIDE


@dataclass(frozen=True)
class FrameLabels:
    """From stretches of sound to labels of tokens, in data workers, and back, in the task.

    A token's label is that of the stretch which its middle lies in; of several the last; else O.

    Attributes:
        class_names: of the labels 0, 1, 2, ...; O is one of them.
        first: the middle of the first token, in seconds.
        step: from one token to the next, in seconds.
        sample_rate: of the sound that the model reads, in Hz.
    """

    class_names: Sequence[str]
    first: float
    step: float
    sample_rate: int
    field: str = "spans"

    def __call__(self, sample: dict[str, Any]) -> Tensor:
        """`audio` and `spans`, (start, end, label) in seconds -> int64 [N], at least one a token."""
        samples, rate = sample["audio"]
        middle = self.first + self.step * torch.arange(int(len(samples) / rate / self.step) + 1)
        labels = torch.full(middle.shape, self.class_names.index(OUTSIDE))
        for start, end, label in sample["spans"]:
            labels[(start <= middle) & (middle < end)] = self.class_names.index(label)
        return labels

    def tell(self, sound: Tensor, said: Sequence[str]) -> dict[str, Any]:
        """`segments`: runs of the same label that is not O, with start and end in seconds.

        Args:
            sound: samples of one clip, within which segments lie.
            said: the label of each token.
        """
        seconds, segments, token = len(sound) / self.sample_rate, list[dict[str, Any]](), 0
        for label, run in groupby(said):
            edges = (token, token := token + len(list(run)))
            start, end = (min(max(self.first + (edge - 0.5) * self.step, 0), seconds) for edge in edges)
            if label != OUTSIDE and start < end:
                segments.append({"label": label, "start": round(start, 3), "end": round(end, 3)})
        return {"segments": segments}

    def show(self, sound: Tensor, said: Sequence[str]) -> str:
        """One line: `5 0.10-0.22; # 0.35-0.50`."""
        segments = self.tell(sound, said)["segments"]
        return "; ".join("{label} {start:.2f}-{end:.2f}".format(**one) for one in segments) or "nothing"

"""Windows of a token stream, for language models."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from unimodal.data.sampling import Draw, stable_seed
from unimodal.types import IGNORED, Sample


class TokenWindows(Dataset):
    """Documents encoded once, joined with the end-of-text token, cut into windows.

    Neighbouring windows overlap by one token, so that in one pass each token is predicted exactly once. In
    training the cuts move by a random amount each epoch, a pure function of (seed, epoch).

    Args:
        samples: samples with `text`.
        preprocess: the text tokenizer's.
        length: predictions a window; it holds one token more. The last window may be shorter.
        shift: move the cuts each epoch.
        seed: of the moves.
    """

    def __init__(
        self, samples: Sequence[Sample], preprocess: Any, length: int, shift: bool = False, seed: int = 0
    ):
        encoded = [_encode(sample, preprocess) for sample in samples]
        eos = np.array([preprocess.eos_id], np.int32)
        self.ids = np.concatenate([eos, *(part for ids, _ in encoded for part in (ids, eos))])
        nothing = np.zeros(1, np.int32)
        self.byte_counts = np.concatenate(
            [nothing, *(part for _, counts in encoded for part in (counts, nothing))]
        )
        self.length, self.shift, self.seed = length, shift, seed
        if not self.byte_counts.any():
            raise ValueError("the text is empty: there is nothing to predict.")

    def __len__(self) -> int:
        predictions = len(self.ids) - 1
        if self.shift:  # room to move: one window less, but never none
            return max(predictions // self.length - 1, 1)
        return -(-predictions // self.length)

    def __getitem__(self, draw: Draw) -> dict[str, Tensor]:
        """`input_ids` and `labels` int64 [length + 1]; `byte_counts`: the bytes of text of each token."""
        start = draw.index * self.length + self._offset(draw.epoch)
        window = slice(start, start + self.length + 1)
        ids = torch.from_numpy(self.ids[window].astype(np.int64))
        counts = torch.from_numpy(self.byte_counts[window].astype(np.int64))
        labels = ids.clone() if draw.counted else torch.full_like(ids, IGNORED)
        return {"input_ids": ids, "labels": labels, "byte_counts": counts}

    def _offset(self, epoch: int) -> int:
        if not self.shift:
            return 0
        room = len(self.ids) - 1 - len(self) * self.length
        return stable_seed(self.seed, epoch) % (room + 1) if room > 0 else 0


def _encode(sample: Sample, preprocess: Any) -> tuple[np.ndarray, np.ndarray]:
    """Ids and, for each, how many bytes of UTF-8 it accounts for; gaps count for the token after them."""
    if "text" not in sample:
        raise ValueError(
            f'the samples have no "text"; they have {", ".join(sample)}. Choose data that has text.'
        )
    text, encoding = sample["text"], preprocess.encode(sample["text"])
    width = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    widths = 1 + (width >= 0x80) + (width >= 0x800) + (width >= 0x10000)  # bytes of each character
    place = np.concatenate([[0], np.cumsum(widths)])
    ends = (
        np.maximum.accumulate([end for _, end in encoding.offsets]) if encoding.ids else np.zeros(0, np.int64)
    )
    counts = np.diff(place[ends], prepend=0)
    if len(counts):
        counts[-1] += place[-1] - counts.sum()
    return np.array(encoding.ids, np.int32), counts.astype(np.int32)

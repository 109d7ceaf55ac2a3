"""Windows of a token stream, for language models."""

import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from unimodal.data.prepared import PreparedSamples
from unimodal.data.sampling import Draw, stable_seed
from unimodal.types import IGNORED, Sample

PIECE = 1 << 20  # characters that are encoded at a time


class TokenWindows(Dataset):
    """Documents encoded once, joined with the end-of-text token, cut into windows.

    Long texts are encoded in pieces and the tokens lie on the disk, so that memory is bounded.
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
        ids, counts = _Growing(np.int32), _Growing(np.int32)
        _extend(ids, counts, [preprocess.eos_id], [0])
        for sample in samples.good() if isinstance(samples, PreparedSamples) else samples:
            for piece in _pieces(_text(sample)):
                _extend(ids, counts, *_encode(piece, preprocess))
            _extend(ids, counts, [preprocess.eos_id], [0])
        self.ids, self.byte_counts = ids.finish(), counts.finish()
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


class _Growing:
    """Numbers that are written to a file without a name as they come, and read through memory mapping."""

    def __init__(self, dtype: Any):
        self.dtype, self.file = np.dtype(dtype), tempfile.TemporaryFile()  # noqa: SIM115  # as long as it is mapped

    def finish(self) -> np.ndarray:
        self.file.flush()
        return np.memmap(self.file, self.dtype, "r")


def _extend(ids: _Growing, counts: _Growing, more_ids: Any, more_counts: Any) -> None:
    for growing, more in ((ids, more_ids), (counts, more_counts)):
        np.asarray(more, growing.dtype).tofile(growing.file)


def _text(sample: Sample) -> str:
    if "text" not in sample:
        raise ValueError(
            f'the samples have no "text"; they have {", ".join(sample)}. Choose data that has text.'
        )
    return sample["text"]


def _pieces(text: str) -> Iterator[str]:
    """A long text in pieces, cut before a space or line end where there is one: tokens begin there anyway."""
    start = 0
    while len(text) - start > PIECE:
        cut = max(text.rfind(sign, start + 1, start + PIECE) for sign in " \n")
        cut = cut if cut > start else start + PIECE
        yield text[start:cut]
        start = cut
    yield text[start:]


def _encode(text: str, preprocess: Any) -> tuple[np.ndarray, np.ndarray]:
    """Ids and, for each, how many bytes of UTF-8 it accounts for; gaps count for the token after them."""
    encoding = preprocess.encode(text)
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

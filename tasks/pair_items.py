"""Which things a pair is of, so that duplicates are known as what they are."""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unimodal.types import Sample, Waveform


class PairSamples(Sequence[Sample]):
    """Samples whose `label` says which thing each of two fields holds: int64 [2], equal for equal content.

    Args:
        samples: decoded and fitted, not augmented.
        fields: the two.

    Raises:
        ValueError: when asked for a sample that lacks one, or is in parts.
    """

    def __init__(self, samples: Sequence[Sample], fields: Sequence[str]):
        self.samples, self.fields = samples, tuple(fields)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: Any) -> Any:
        sample = self.samples[index]
        if any(sample.get(field) is None for field in self.fields):
            raise ValueError(
                f"contrastive learning needs {' and '.join(self.fields)} in each sample; one has "
                f"{', '.join(sample)}. Leave out the samples that lack one, and data.allow_missing."
            )
        return sample | {"label": torch.tensor([number_of(sample[field]) for field in self.fields])}


def number_of(value: str | Tensor | Waveform) -> int:
    """63 bits that depend on content only, the same in every process."""
    if isinstance(value, str):
        content = value.encode()
    else:
        content = (value.samples if isinstance(value, Waveform) else value).contiguous().numpy().tobytes()
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little") >> 1

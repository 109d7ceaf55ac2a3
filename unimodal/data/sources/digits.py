"""Real handwritten digits, small enough to come with scikit-learn."""

from collections.abc import Sequence
from functools import partial

import torch
from sklearn.datasets import load_digits

from unimodal.data.sources.base import EMBEDDED_SPLITS, GeneratedRows, Source, check_split, hash_split
from unimodal.types import Sample


class Digits(Source):
    """1,797 handwritten digits: `image` uint8 [3, 8, 8], grey, 0 = paper and 255 = ink; `label` 0 to 9.

    The test set of Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI 1998
    (https://doi.org/10.24432/C50P49), as scikit-learn ships it. A digit's split is the hash of its row, so
    the same 13 writers are in both splits: validation measures unseen digits, not unseen hands.

    Attributes:
        images: uint8 [1797, 8, 8].
        labels: the digit of each image.
        indices: for each split the rows of `images` that it holds.
    """

    def __init__(self, val_fraction: float = 0.2) -> None:
        bunch = load_digits()
        self.images = torch.from_numpy(bunch.images * 255 / 16).round().to(torch.uint8)  # ink comes as 0..16
        self.labels: list[int] = bunch.target.tolist()
        self.class_names = [str(digit) for digit in range(10)]
        splits = [hash_split(row, val_fraction) for row in range(len(self.labels))]
        self.indices = {name: [i for i, s in enumerate(splits) if s == name] for name in EMBEDDED_SPLITS}

    def split(self, name: str) -> Sequence[Sample]:
        """The digits of "train" or "val"; ValueError for another name."""
        indices = self.indices[check_split(name)]
        return GeneratedRows(partial(self._sample, indices), len(indices))

    def _sample(self, indices: list[int], index: int) -> Sample:
        row = indices[index]
        return {"image": self.images[row].repeat(3, 1, 1), "label": self.labels[row]}

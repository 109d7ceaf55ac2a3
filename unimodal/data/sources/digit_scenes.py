"""Several handwritten digits on one canvas: which pixel is the ink of which digit?"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from unimodal.data.sources.base import (
    EMBEDDED_SPLITS,
    GeneratedRows,
    Source,
    check_at_least,
    check_split,
    generator,
)
from unimodal.data.sources.digits import Digits
from unimodal.types import Sample

INK = 80  # of 255: darker is paper
TRIES = 10  # to find a place that is free


class DigitScenes(Source):
    """Digits of different sizes: `image` uint8 [3, size, size], grey, and `mask` uint8 [size, size].

    A pixel's class is 0 for paper, else 1 + the digit whose ink it is. Digits keep apart where there is room;
    else the last one drawn lies on top. A stroke looks much the same in a 3 and in an 8: what stands around a
    pixel tells its class. Train scenes show train digits, val scenes val digits (`Digits`).

    A scene is a pure function of (seed, split, index).

    Args:
        size: height and width of a scene in pixels.
        min_digits: in a scene.
        max_digits: likewise.
        min_digit_size: side of a digit in pixels; the 8x8 originals are enlarged bilinearly.
        max_digit_size: likewise, at most `size`.
        train_size: scenes in "train".
        val_size: scenes in "val".
        seed: another seed makes other scenes of the same digits.
    """

    def __init__(
        self,
        size: int = 32,
        min_digits: int = 1,
        max_digits: int = 3,
        min_digit_size: int = 12,
        max_digit_size: int = 16,
        train_size: int = 4000,
        val_size: int = 400,
        seed: int = 0,
    ) -> None:
        check_at_least(1, min_digits=min_digits, min_digit_size=min_digit_size)
        check_at_least(1, train_size=train_size, val_size=val_size)
        check_at_least(min_digits, max_digits=max_digits)
        check_at_least(min_digit_size, max_digit_size=max_digit_size, size=size)
        if max_digit_size > size:
            raise ValueError(f"max_digit_size={max_digit_size} does not fit into size={size}.")
        self.size, self.seed = size, seed
        self.num_digits, self.digit_sizes = (min_digits, max_digits), (min_digit_size, max_digit_size)
        self.sizes = {"train": train_size, "val": val_size}
        digits = Digits()
        rows = {name: digits.indices[name] for name in EMBEDDED_SPLITS}
        self.digits = {name: digits.images[rows[name]] for name in EMBEDDED_SPLITS}
        self.labels = {name: [digits.labels[row] for row in rows[name]] for name in EMBEDDED_SPLITS}
        self.region_names = ["paper", *digits.class_names]

    def split(self, name: str) -> Sequence[Sample]:
        """The scenes of "train" or "val", made when asked for; ValueError for another name."""
        return GeneratedRows(partial(self._scene, check_split(name)), self.sizes[name])

    def _scene(self, split: str, index: int) -> Sample:
        rng = generator("digit_scenes", self.seed, split, index)
        image, mask = (np.zeros((self.size, self.size), np.uint8) for _ in range(2))
        for _ in range(rng.integers(self.num_digits[0], self.num_digits[1] + 1)):
            row = rng.integers(len(self.labels[split]))
            side = int(rng.integers(self.digit_sizes[0], self.digit_sizes[1] + 1))
            ink = np.rint(_enlarge(self.digits[split][row], side) * rng.uniform(0.6, 1.0))  # brightness
            drawn = ink >= INK
            for _ in range(TRIES):
                y, x = rng.integers(self.size - side + 1, size=2)
                place = np.s_[y : y + side, x : x + side]
                if not mask[place][drawn].any():
                    break
            image[place] = np.where(drawn, ink, np.maximum(image[place], ink))
            mask[place][drawn] = 1 + self.labels[split][row]
        return {"image": torch.from_numpy(image).repeat(3, 1, 1), "mask": torch.from_numpy(mask)}


def _enlarge(image: Tensor, size: int) -> np.ndarray:
    """Uint8 [8, 8] to float32 [size, size]."""
    return interpolate(image[None, None].float(), size=(size, size), mode="bilinear")[0, 0].numpy()

"""Clips of a handwritten digit in motion: which way does it go?"""

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

# Pixels (down, right) that one unit of speed moves the digit in a frame.
DIRECTIONS = {
    "E": (0, 1),
    "NE": (-1, 1),
    "N": (-1, 0),
    "NW": (-1, -1),
    "W": (0, -1),
    "SW": (1, -1),
    "S": (1, 0),
    "SE": (1, 1),
}


class MovingDigits(Source):
    """One digit drifting over a torus: `video` uint8 [T, 3, H, W], `label` = direction, 0 to 7.

    The digit leaves on one side and comes back on the other, and it starts anywhere with equal chance. So
    every single frame has the same distribution whatever the direction: only a model that compares frames
    can beat one in eight. Train clips show train digits, val clips val digits (`Digits`). After the moving
    digits of Srivastava et al. 2015, arXiv 1502.04681.

    A clip is a pure function of (seed, split, index); directions take turns, so the classes are balanced.

    Args:
        num_frames: T, at least 2.
        size: H and W in pixels.
        digit_size: side of the digit in pixels, at most `size`; the 8x8 originals are enlarged bilinearly.
        max_speed: pixels per frame and axis; each clip draws 1 to `max_speed`. Below a quarter of `size`,
            so that on the torus a step is never as long as its way round.
        train_size: clips in "train".
        val_size: clips in "val".
        seed: another seed makes other clips of the same digits.
    """

    def __init__(
        self,
        num_frames: int = 8,
        size: int = 32,
        digit_size: int = 16,
        max_speed: int = 3,
        train_size: int = 2000,
        val_size: int = 400,
        seed: int = 0,
    ) -> None:
        check_at_least(2, num_frames=num_frames)
        check_at_least(
            1, digit_size=digit_size, max_speed=max_speed, train_size=train_size, val_size=val_size
        )
        if digit_size > size:
            raise ValueError(f"digit_size={digit_size} does not fit into size={size}.")
        if max_speed * 4 >= size:
            raise ValueError(f"max_speed={max_speed} is not below a quarter of size={size}.")
        self.num_frames, self.size, self.max_speed, self.seed = num_frames, size, max_speed, seed
        self.sizes = {"train": train_size, "val": val_size}
        digits = Digits()
        self.digits = {
            name: _enlarge(digits.images[digits.indices[name]], digit_size) for name in EMBEDDED_SPLITS
        }
        self.class_names = list(DIRECTIONS)

    def split(self, name: str) -> Sequence[Sample]:
        """The clips of "train" or "val", made when asked for; ValueError for another name."""
        return GeneratedRows(partial(self._clip, check_split(name)), self.sizes[name])

    def _clip(self, split: str, index: int) -> Sample:
        rng = generator("moving_digits", self.seed, split, index)
        label = index % len(DIRECTIONS)
        digit = self.digits[split][rng.integers(len(self.digits[split]))]
        canvas = np.zeros((self.size, self.size), dtype=np.uint8)
        canvas[: len(digit), : len(digit)] = np.rint(digit * rng.uniform(0.5, 1.0))  # brightness
        start = rng.integers(self.size, size=2)
        step = rng.integers(1, self.max_speed + 1) * np.array(list(DIRECTIONS.values())[label])
        frames = _roll(canvas, start + np.arange(self.num_frames)[:, None] * step)
        return {"video": torch.from_numpy(frames[:, None].repeat(3, axis=1)), "label": label}


def _enlarge(images: Tensor, size: int) -> np.ndarray:
    """Uint8 [n, 8, 8] to uint8 [n, size, size]."""
    larger = interpolate(images[:, None].float(), size=(size, size), mode="bilinear")
    return larger[:, 0].round().to(torch.uint8).numpy()


def _roll(canvas: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """[H, W] rolled by each of `shifts` [T, 2] (down, right), as [T, H, W]."""
    rows, columns = (np.arange(len(canvas)) - shifts.T[:, :, None]) % len(canvas)  # [T, H], [T, W]
    return canvas[rows[:, :, None], columns[:, None, :]]

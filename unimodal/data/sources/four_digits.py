"""Four digits in four modalities, in any order: what is their sum?"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from unimodal.data.sources.base import (
    EMBEDDED_SPLITS,
    GeneratedRows,
    Source,
    check_at_least,
    check_split,
    generator,
)
from unimodal.data.sources.digits import Digits
from unimodal.data.sources.keypad_tones import KEYS, pressed_key
from unimodal.types import Sample, Waveform

MODALITIES = ("image", "audio", "text", "video")
NUM_DIGITS = 4  # 0, 1, 2, 3
WORDS = ("no", "one", "two", "three")
THINGS = ("apples", "birds", "boats", "books", "cats", "chairs", "coins", "dogs", "keys", "trees")
SENTENCES = ("I see {}.", "We had {}.", "Count {}.", "Here are {}.", "She has {}.", "Add {}.")
REMARKS = ("Look.", "Listen.", "What is next?", "Go on.", "And then?")  # count for nothing
SAMPLE_RATE, SECONDS = 8000, 0.4
NUM_FRAMES, SIZE, LANE = 4, 32, 10  # of a clip: frames, pixels of a side, height of each of three lanes
SPEED = (2, 4)  # pixels a frame


class FourDigits(Source):
    """Samples of `parts` in random order; `label` 0 to 12 is the sum of four digits, 0 to 3 each.

    | part  | its digit                                                                                |
    | ----- | ---------------------------------------------------------------------------------------- |
    | image | a handwritten one (`Digits`), uint8 [3, 8, 8]                                            |
    | audio | a key of a telephone over a noisy line (`KeypadTones`)                                   |
    | text  | a word: "We had three apples."; up to two more texts are remarks that count for nothing   |
    | video | how many of three handwritten digits move, the others stand; uint8 [4, 3, 32, 32]        |

    The digits are independent and uniform: without one of the modalities nobody does better than one in four,
    whatever the others say. Val shows handwritten digits that train does not.

    A sample is a pure function of (seed, split, index).

    Args:
        train_size: samples in "train".
        val_size: samples in "val".
        missing: share of the training samples that lack one to three of the four, whose label is the sum of
            what is there: from these each modality is learned sooner.
        withhold: a modality, or several, that is taken out of every sample while the label still counts it.
        seed: another seed makes other samples.
    """

    def __init__(
        self,
        train_size: int = 6400,
        val_size: int = 800,
        missing: float = 0.75,
        withhold: str | Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        check_at_least(1, train_size=train_size, val_size=val_size)
        if not 0 <= missing <= 1:
            raise ValueError(f"data.missing={missing} is not between 0 and 1.")
        self.sizes, self.missing, self.seed = {"train": train_size, "val": val_size}, missing, seed
        self.withheld = _modalities(withhold)
        self.class_names = [str(total) for total in range(len(MODALITIES) * (NUM_DIGITS - 1) + 1)]
        digits = Digits()
        self.images = {split: digits.images[digits.indices[split]] for split in EMBEDDED_SPLITS}
        labels = torch.tensor(digits.labels)
        self.labels = {split: labels[digits.indices[split]] for split in EMBEDDED_SPLITS}

    def split(self, name: str) -> Sequence[Sample]:
        """The samples of "train" or "val", made when asked for; ValueError for another name."""
        return GeneratedRows(partial(self._sample, check_split(name)), self.sizes[name])

    def _sample(self, split: str, index: int) -> Sample:
        rng = generator("four_digits", self.seed, split, index)
        there = list(MODALITIES)
        if split == "train" and rng.random() < self.missing:
            there = self._some(rng)
        digits = {modality: int(rng.integers(NUM_DIGITS)) for modality in there}
        parts = [self._part(rng, split, modality, digit) for modality, digit in digits.items()]
        parts += [{"text": str(rng.choice(REMARKS))} for _ in range(rng.integers(3))]
        shuffled = [parts[place] for place in rng.permutation(len(parts))]
        kept = [part for part in shuffled if not self.withheld & part.keys()]
        return {"parts": kept, "label": sum(digits.values())}

    def _some(self, rng: np.random.Generator) -> list[str]:
        """One to three modalities, of which not all are withheld."""
        there: list[str] = []
        while self.withheld.issuperset(there):
            there = rng.permutation(MODALITIES)[: rng.integers(1, len(MODALITIES))].tolist()
        return there

    def _part(self, rng: np.random.Generator, split: str, modality: str, digit: int) -> Sample:
        images = self.images[split]
        if modality == "image":
            return {"image": _drawn(rng, images[self.labels[split] == digit]).repeat(3, 1, 1)}
        if modality == "audio":
            return {"audio": _keyed(rng, digit)}
        if modality == "video":
            return {"video": _clip(rng, torch.stack([_drawn(rng, images) for _ in range(3)]), digit)}
        return {"text": _sentence(rng, digit)}


def _modalities(withhold: str | Sequence[str] | None) -> set[str]:
    withheld = {withhold} if isinstance(withhold, str) else set(withhold or ())
    if not withheld < set(MODALITIES):
        raise ValueError(f"data.withhold={withhold} must leave something of {', '.join(MODALITIES)}.")
    return withheld


def _drawn(rng: np.random.Generator, images: Tensor) -> Tensor:
    return images[rng.integers(len(images))]


def _keyed(rng: np.random.Generator, digit: int) -> Waveform:
    return pressed_key(rng, KEYS.index(str(digit)), round(SECONDS * SAMPLE_RATE), SAMPLE_RATE)


def _sentence(rng: np.random.Generator, digit: int) -> str:
    things = str(rng.choice(THINGS))
    counted = f"{WORDS[digit]} {things[:-1] if digit == 1 else things}"
    return str(rng.choice(SENTENCES)).format(counted)


def _clip(rng: np.random.Generator, images: Tensor, num_moving: int) -> Tensor:
    """Three handwritten digits [3, 8, 8], each in a lane, of which some run left or right in circles."""
    lanes = np.zeros((3, SIZE, LANE), np.uint8)  # columns first
    lanes[:, :8, 1:9] = images.numpy().transpose(0, 2, 1)
    moving = rng.permutation(3) < num_moving
    steps = moving * rng.integers(SPEED[0], SPEED[1] + 1, 3) * rng.choice([-1, 1], 3)
    places = rng.integers(SIZE, size=3) + np.arange(NUM_FRAMES)[:, None] * steps  # [T, 3]
    columns = (np.arange(SIZE) - places[..., None]) % SIZE  # [T, 3, W]
    frames = lanes[np.arange(3)[:, None], columns].transpose(0, 1, 3, 2)  # [T, 3, LANE, W]
    clip = np.pad(frames.reshape(NUM_FRAMES, 3 * LANE, SIZE), ((0, 0), (1, 1), (0, 0)))
    return torch.from_numpy(clip[:, None].repeat(3, axis=1))

"""Several keys of a telephone's keypad one after another: which one sounds when?"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from unimodal.data.sources.base import GeneratedRows, Source, check_at_least, check_split, generator
from unimodal.data.sources.keypad_tones import COLUMNS, DURATION, KEYS, ROWS, SNR, key_tone, telephone_band
from unimodal.types import Sample, Waveform

PAUSE = 0.04  # seconds at least between two keys, ITU-T Q.24


class KeypadSequences(Source):
    """DTMF keys in a row: `audio` a `Waveform` of `seconds`, `spans` (start, end, key) of each in seconds.

    Tones, noise and line are those of `KeypadTones`; every key's levels, duration and pause are drawn anew,
    the noise is the same throughout a clip. A clip is a pure function of (seed, split, index).

    Args:
        sample_rate: Hz, at least 4000.
        seconds: length of a clip, enough for the longest tones and pauses of `max_keys`.
        max_keys: pressed in a clip; the least is one.
        train_size: clips in "train".
        val_size: clips in "val".
        seed: another seed makes other clips.
    """

    def __init__(
        self,
        sample_rate: int = 8000,
        seconds: float = 2.0,
        max_keys: int = 5,
        train_size: int = 3200,
        val_size: int = 200,
        seed: int = 0,
    ) -> None:
        check_at_least(4000, sample_rate=sample_rate)
        check_at_least(1, max_keys=max_keys, train_size=train_size, val_size=val_size)
        check_at_least(max_keys * (DURATION[1] + PAUSE) + PAUSE, seconds=seconds)
        self.sample_rate, self.max_keys, self.seed = sample_rate, max_keys, seed
        self.num_samples = round(sample_rate * seconds)
        self.sizes = {"train": train_size, "val": val_size}
        self.region_names = ["O", *KEYS]

    def split(self, name: str) -> Sequence[Sample]:
        """The clips of "train" or "val", made when asked for; ValueError for another name."""
        return GeneratedRows(partial(self._clip, check_split(name)), self.sizes[name])

    def _clip(self, split: str, index: int) -> Sample:
        rng, rate = generator("keypad_sequences", self.seed, split, index), self.sample_rate
        keys = rng.integers(len(KEYS), size=rng.integers(1, self.max_keys + 1))
        tones = [key_tone(rng, ROWS[key // 4], COLUMNS[key % 4], rate) for key in keys]
        sound, spans = np.zeros(self.num_samples), list[tuple[float, float, str]]()
        for key, tone, start in zip(
            keys, tones, self._starts(rng, [len(tone) for tone in tones]), strict=True
        ):
            sound[start : start + len(tone)] = tone
            spans.append((start / rate, (start + len(tone)) / rate, KEYS[key]))
        power = np.mean(np.concatenate(tones) ** 2) / 10 ** (rng.uniform(*SNR) / 10)
        line = telephone_band(sound + rng.normal(0, np.sqrt(power), self.num_samples), rate)
        samples = torch.from_numpy(line.clip(-1, 1).astype(np.float32))
        return {"audio": Waveform(samples, rate), "spans": spans}

    def _starts(self, rng: np.random.Generator, lengths: Sequence[int]) -> list[int]:
        """Where each tone begins, in samples: what is left of the clip is dealt out as pauses."""
        pause = round(PAUSE * self.sample_rate)
        room = self.num_samples - sum(lengths) - pause * (len(lengths) + 1)
        cuts = np.sort(rng.integers(room + 1, size=len(lengths)))
        before = np.cumsum([0, *lengths[:-1]])
        return [
            int(cut + length + pause * (i + 1))
            for i, (cut, length) in enumerate(zip(cuts, before, strict=True))
        ]

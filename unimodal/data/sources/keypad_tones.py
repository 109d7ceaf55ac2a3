"""The tones of a telephone's keypad over a noisy line: which key was it?"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from unimodal.data.sources.base import GeneratedRows, Source, check_at_least, check_split, generator
from unimodal.types import Sample, Waveform

KEYS = "123A456B789C*0#D"  # row by row
ROWS = (697, 770, 852, 941)  # Hz, ITU-T Q.23
COLUMNS = (1209, 1336, 1477, 1633)  # Hz

FREQUENCY_TOLERANCE = 0.015  # a receiver must still accept so much, ITU-T Q.24
TWIST = (-8.0, 4.0)  # dB, column's level less row's; ITU-T Q.24
LEVEL = (-30.0, -15.0)  # dB, power of the two tones together; 0 dB is a power of 1
SNR = (0.0, 20.0)  # dB, against the tones' power while they sound
DURATION = (0.06, 0.25)  # seconds
RAMP = 0.005  # seconds of raised cosine at either end
BAND = (300.0, 3400.0)  # Hz, what a telephone line lets through


class KeypadTones(Source):
    """DTMF keys pressed once: `audio` a `Waveform` of `seconds`, `label` the key, 0 to 15 as in `KEYS`.

    Each key is one tone of its row and one of its column (ITU-T Q.23). Frequencies, levels, phases, onset,
    duration and white noise are random within the constants above, then the line's band is cut out. A clip
    is a pure function of (seed, split, index); keys take turns, so the classes are balanced.

    Args:
        sample_rate: Hz, at least 4000, so that the highest tone is below half of it.
        seconds: length of a clip, at least 0.25, the longest tone.
        train_size: clips in "train".
        val_size: clips in "val".
        seed: another seed makes other clips.
    """

    def __init__(
        self,
        sample_rate: int = 8000,
        seconds: float = 0.4,
        train_size: int = 3200,
        val_size: int = 800,
        seed: int = 0,
    ) -> None:
        check_at_least(4000, sample_rate=sample_rate)
        check_at_least(DURATION[1], seconds=seconds)
        check_at_least(1, train_size=train_size, val_size=val_size)
        self.sample_rate, self.seed = sample_rate, seed
        self.num_samples = round(sample_rate * seconds)
        self.sizes = {"train": train_size, "val": val_size}
        self.class_names = list(KEYS)

    def split(self, name: str) -> Sequence[Sample]:
        """The clips of "train" or "val", made when asked for; ValueError for another name."""
        return GeneratedRows(partial(self._clip, check_split(name)), self.sizes[name])

    def _clip(self, split: str, index: int) -> Sample:
        rng = generator("keypad_tones", self.seed, split, index)
        label = index % len(KEYS)
        return {"audio": pressed_key(rng, label, self.num_samples, self.sample_rate), "label": label}


def pressed_key(rng: np.random.Generator, key: int, num_samples: int, sample_rate: int) -> Waveform:
    """A noisy line on which the key `KEYS[key]` is pressed once."""
    tone = key_tone(rng, ROWS[key // 4], COLUMNS[key % 4], sample_rate)
    noise_power = np.mean(tone**2) / 10 ** (rng.uniform(*SNR) / 10)
    sound = rng.normal(0, np.sqrt(noise_power), num_samples)
    onset = rng.integers(num_samples - len(tone) + 1)
    sound[onset : onset + len(tone)] += tone
    samples = telephone_band(sound, sample_rate).clip(-1, 1).astype(np.float32)
    return Waveform(torch.from_numpy(samples), sample_rate)


def key_tone(rng: np.random.Generator, row: int, column: int, sample_rate: int) -> np.ndarray:
    """The two tones of a key with their ramps, float64 [duration in samples]."""
    time = np.arange(int(rng.uniform(*DURATION) * sample_rate)) / sample_rate
    frequencies = np.array([row, column]) * (1 + rng.uniform(-1, 1, 2) * FREQUENCY_TOLERANCE)
    ratio = 10 ** (rng.uniform(*TWIST) / 10)  # column's power over row's
    power = 10 ** (rng.uniform(*LEVEL) / 10) * np.array([1, ratio]) / (1 + ratio)
    phase = rng.uniform(0, 2 * np.pi, (2, 1))
    waves = np.sqrt(2 * power)[:, None] * np.sin(2 * np.pi * frequencies[:, None] * time + phase)
    edge = np.minimum(time, time[::-1]) / RAMP  # distance to the nearer end
    return waves.sum(0) * (0.5 - 0.5 * np.cos(np.pi * edge.clip(0, 1)))


def telephone_band(sound: np.ndarray, sample_rate: int) -> np.ndarray:
    """What is left of `sound` [S] within `BAND`."""
    spectrum = np.fft.rfft(sound)
    frequencies = np.fft.rfftfreq(len(sound), 1 / sample_rate)
    spectrum[(frequencies < BAND[0]) | (frequencies > BAND[1])] = 0
    return np.fft.irfft(spectrum, len(sound))

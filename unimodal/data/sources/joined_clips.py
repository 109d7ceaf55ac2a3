"""Transcription data out of labelled clips: a few words one after another, and what they say."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from unimodal.data.decoding.audio import decode_audio
from unimodal.data.media import resample
from unimodal.data.sources.base import GeneratedRows, Source, check_at_least, check_split, generator
from unimodal.types import Sample, Waveform


class JoinedClips(Source):
    """Random clips with random pauses between them: `audio` a `Waveform`, `text` the names of their classes.

    From clips in the folders `three`, `one` and `four` comes the text "three one four". A sample is a pure
    function of (seed, split, index), and made of clips of its own split only.

    Args:
        clips: a source with `audio` and one class a sample.
        num_words: fewest and most clips of a sample.
        pause: shortest and longest silence between two clips, in seconds.
        train_size: samples in "train".
        eval_size: samples in every other split.
        seed: another seed makes other samples.

    Raises:
        ValueError: if the clips have not one class each, or two numbers are not in order.
    """

    def __init__(
        self,
        clips: Source,
        num_words: Sequence[int] = (1, 6),
        pause: Sequence[float] = (0.0, 0.3),
        train_size: int = 4000,
        eval_size: int = 300,
        seed: int = 0,
    ):
        check_at_least(1, train_size=train_size, eval_size=eval_size)
        _check_range("num_words", num_words, 1)
        _check_range("pause", pause, 0)
        if not clips.class_names or clips.multilabel:
            raise ValueError(f"data=joined_clips needs clips with one class each; {clips.label_hint}.")
        self.clips, self.num_words, self.pause = clips, tuple(num_words), tuple(pause)
        self.train_size, self.eval_size, self.seed = train_size, eval_size, seed
        self.split_names, self.allow_changed = clips.split_names, clips.allow_changed
        self.on_bad_sample, self.max_skipped = clips.on_bad_sample, clips.max_skipped

    def split(self, name: str) -> Sequence[Sample]:
        """The samples of a split, made when asked for; ValueError if the clips lack it, or sound."""
        rows = self.clips.split(check_split(name, self.split_names))
        if "audio" not in rows[0]:
            raise ValueError(f"data=joined_clips: the clips have no audio; they have {', '.join(rows[0])}.")
        words = [str(self.clips.class_names[int(label)]) for label in self.clips.split_labels(name)]
        join = _Join(rows, words, self.num_words, self.pause, ("joined_clips", self.seed, name))
        return GeneratedRows(join, self.train_size if name == "train" else self.eval_size)

    def fingerprint(self) -> str:
        """That of the clips."""
        return self.clips.fingerprint()

    def describe(self) -> list[str]:
        """What the clips are, and what is made of them."""
        low, high = self.num_words
        sizes = f"{self.train_size:,} train, {self.eval_size:,} in each other split"
        return [*self.clips.describe(), f"joined, {low} to {high} clips a sample: {sizes}"]


@dataclass(frozen=True)
class _Join:
    """From an index to a sample.

    Attributes:
        rows: the clips of the split.
        words: what each says.
        num_words: fewest and most of a sample.
        pause: shortest and longest, in seconds.
        key: of the random numbers.
    """

    rows: Sequence[Sample]
    words: Sequence[str]
    num_words: tuple[int, ...]
    pause: tuple[float, ...]
    key: tuple[str | int, ...]

    def __call__(self, index: int) -> Sample:
        rng, (low, high) = generator(*self.key, index), self.num_words
        chosen = rng.integers(len(self.rows), size=rng.integers(low, high + 1)).tolist()
        sounds = [decode_audio(self.rows[row]["audio"]) for row in chosen]
        rate, parts = sounds[0].sample_rate, list[torch.Tensor]()
        pauses = rng.uniform(self.pause[0], self.pause[1], len(sounds))
        for sound, pause in zip(sounds, pauses.tolist(), strict=True):
            alike = sound.sample_rate == rate
            parts += [sound.samples if alike else resample(sound.samples, sound.sample_rate, rate)]
            parts += [torch.zeros(round(pause * rate))]
        text = " ".join(self.words[row] for row in chosen)
        return {"audio": Waveform(torch.cat(parts[:-1]), rate), "text": text}


def _check_range(knob: str, values: Sequence[float], least: float) -> None:
    if len(values) != 2 or not least <= values[0] <= values[1]:
        raise ValueError(f"data.{knob}={list(values)} must be two numbers from {least}, the smaller first.")

"""Fits samples to what the tokenizer wants: decodes what is encoded; size, sample rate, number of frames."""

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torchaudio.transforms import Resample

from unimodal.data.decoding.audio import decode_audio
from unimodal.data.decoding.images import decode_image
from unimodal.data.decoding.masks import decode_mask
from unimodal.data.decoding.resizing import resized
from unimodal.data.decoding.texts import decode_text
from unimodal.data.decoding.videos import decode_video
from unimodal.types import Sample, Waveform

MAX_TERM = 1000  # of a ratio of two rates; beyond about its square the resampling kernel takes gigabytes


def fit_image(sample: Sample, preprocess: Any) -> Sample:
    """`image` as uint8 [3, H, W] of `preprocess.image_size`, which may be a function of its own size.

    Raises:
        BadSample: if it cannot be decoded.
    """
    pixels = decode_image(sample["image"], size=preprocess.image_size)
    return {**sample, "image": resized(pixels, preprocess.image_size)}


def fit_video(sample: Sample, preprocess: Any) -> Sample:
    """`video` as uint8 [T, 3, H, W]: `preprocess.num_frames` frames of `preprocess.image_size`.

    They are spread evenly: each frame is the one in the middle of its share of the clip; a clip that is too
    short repeats frames.

    Raises:
        BadSample: if it cannot be decoded.
    """
    clip = decode_video(sample["video"], preprocess.num_frames, preprocess.image_size)
    return {**sample, "video": clip}


def fit_audio(sample: Sample, preprocess: Any) -> Sample:
    """`audio` at `preprocess.sample_rate`, cut to `preprocess.max_seconds`.

    Raises:
        BadSample: if it cannot be decoded.
    """
    samples, rate = decode_audio(sample["audio"], max_seconds=preprocess.max_seconds)
    if rate != preprocess.sample_rate:
        samples, rate = resample(samples, rate, preprocess.sample_rate), preprocess.sample_rate
    return {**sample, "audio": Waveform(samples[: round(preprocess.max_seconds * rate)], rate)}


def fit_text(sample: Sample, preprocess: Any) -> Sample:
    """`text` as a str without byte order mark and NUL characters, its lines ended by LF.

    Raises:
        BadSample: if it is not UTF-8.
    """
    return {**sample, "text": decode_text(sample["text"])}


def fit_mask(sample: Sample, preprocess: Any) -> Sample:
    """`mask` as uint8 [H, W] of `preprocess.image_size`, nearest values.

    Raises:
        BadSample: if it cannot be decoded, or has a value of none of `preprocess.num_classes`.
    """
    mask = decode_mask(sample["mask"], preprocess.image_size, preprocess.num_classes)
    return {**sample, "mask": mask}


FIT: dict[str, Callable[[Sample, Any], Sample]] = {
    "image": fit_image,
    "video": fit_video,
    "audio": fit_audio,
    "text": fit_text,
    "mask": fit_mask,
}
"""By the sample's field; a field that is not here needs no fitting."""


def resample(samples: Tensor, rate: int, wanted: int) -> Tensor:
    """Sound at another rate, as torchaudio.functional.resample makes it, with its kernel kept.

    Rates in a ratio of large numbers (44101 to 16000) are brought to a near one of smaller numbers: less than
    a sample in a million is gained or lost.
    """
    old, new = _ratio(rate, wanted)
    return _resampler(old, new)(samples)


def _ratio(rate: int, wanted: int) -> tuple[int, int]:
    ratio = Fraction(rate, wanted)
    if ratio.numerator * ratio.denominator <= MAX_TERM**2:
        return ratio.numerator, ratio.denominator
    if ratio < 1:
        return _ratio(wanted, rate)[::-1]
    ratio = ratio.limit_denominator(max(1, int(MAX_TERM / float(ratio) ** 0.5)))
    return ratio.numerator, ratio.denominator


@lru_cache(maxsize=32)
def _resampler(old: int, new: int) -> Resample:
    return Resample(old, new, dtype=torch.float32)

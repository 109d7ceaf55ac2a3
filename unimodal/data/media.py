"""Fits decoded samples to what the tokenizer wants: size, sample rate, number of frames."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchaudio.functional import resample
from torchvision.transforms.v2 import functional as tv

from unimodal.types import Sample, Waveform


def fit_image(sample: Sample, preprocess: Any) -> Sample:
    """`image` uint8 [3, H, W] resized to `preprocess.image_size` (bilinear, antialiased)."""
    return {**sample, "image": _resize(sample["image"], preprocess.image_size)}


def fit_video(sample: Sample, preprocess: Any) -> Sample:
    """`video` uint8 [T, 3, H, W]: `preprocess.num_frames` frames, resized to `preprocess.image_size`.

    They are spread evenly: each frame is the middle one of its share of the clip; a clip that is too short
    repeats frames.
    """
    clip, num = sample["video"], preprocess.num_frames
    frame_idx = ((torch.arange(num) + 0.5) * len(clip) / num).long()
    return {**sample, "video": _resize(clip[frame_idx], preprocess.image_size)}


def fit_audio(sample: Sample, preprocess: Any) -> Sample:
    """`audio` resampled to `preprocess.sample_rate` and cut to `preprocess.max_seconds`."""
    samples, rate = sample["audio"]
    if rate != preprocess.sample_rate:
        samples, rate = resample(samples, rate, preprocess.sample_rate), preprocess.sample_rate
    return {**sample, "audio": Waveform(samples[: round(preprocess.max_seconds * rate)], rate)}


FIT: dict[str, Callable[[Sample, Any], Sample]] = {"image": fit_image, "video": fit_video, "audio": fit_audio}
"""By the sample's field; a field that is not here needs no fitting."""


def _resize(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(pixels.shape[-2:]) == tuple(size):
        return pixels
    return tv.resize(pixels, list(size), antialias=True)

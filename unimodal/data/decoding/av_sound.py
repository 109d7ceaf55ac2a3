"""A file's sound as FFmpeg decodes it. Runs in the decoder process."""

from io import BytesIO
from typing import Any

import numpy as np

from unimodal.data.decoding.av_files import chosen, decoded, is_mp4, opened
from unimodal.data.decoding.messages import Answer, Unusable


def read_sound(file: str | BytesIO, max_seconds: float | None) -> Answer:
    """The mean of the channels, float32 [S], at the file's rate; no more than `max_seconds` is decoded.

    The padding of the last packet is left out where the file gives the number of samples. FFmpeg does so for
    MP3 and for Opus in Ogg and Matroska, but not for MP4 and its relatives, whose tracks have a duration.
    """
    notes: set[str] = set()
    parts: list[np.ndarray] = []
    rate, count, padding = 0, 0, 0
    with opened(file) as container:
        stream = chosen(container, "audio")
        for frame in decoded(container, stream, notes):
            if rate and frame.sample_rate != rate:
                notes.add("changes its sample rate; what comes after is left out")
                break
            rate = frame.sample_rate
            parts.append(_mono(frame))
            count += len(parts[-1])
            if max_seconds is not None and count >= max_seconds * rate:
                break
        if count and is_mp4(container) and stream.duration:
            padding = count - round(stream.duration * stream.time_base * rate)
    if not count:
        raise Unusable("has no sound that can be decoded (0 samples)")
    if not 0 < padding < len(parts[-1]):  # more than the last packet has is no padding, but a wrong header
        padding = 0
    return {"rate": rate, "notes": sorted(notes)}, np.concatenate(parts)[: count - padding]


def read_facts(file: str | BytesIO) -> Answer:
    """By the headers: `seconds` is 0 where they do not say it."""
    with opened(file) as container:
        stream = chosen(container, "audio")
        seconds = (
            float(stream.duration * stream.time_base) if stream.duration else (container.duration or 0) / 1e6
        )
        facts = {
            "seconds": max(seconds, 0.0),
            "sample_rate": stream.codec_context.sample_rate,
            "channels": stream.codec_context.channels,
        }
    return {"facts": facts, "notes": []}, np.empty(0)


def _mono(frame: Any) -> np.ndarray:
    samples = frame.to_ndarray()
    num_channels = frame.layout.nb_channels
    if not frame.format.is_planar:
        samples = samples.reshape(-1, num_channels).T
    return _scaled(samples).mean(0).astype(np.float32)


def _scaled(samples: np.ndarray) -> np.ndarray:
    """To -1 to 1 by the largest magnitude of the type; 8 bits are unsigned."""
    if samples.dtype == np.uint8:
        return (samples - np.float32(128)) / 128
    if samples.dtype.kind == "i":
        return samples / -float(np.iinfo(samples.dtype).min)
    return samples

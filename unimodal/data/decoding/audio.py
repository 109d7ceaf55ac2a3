"""Sound files to waveforms: libsndfile reads wav, flac, ogg, opus, mp3 and others; FFmpeg the rest, apart."""

from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from unimodal.data.decoding.encoded import Encoded
from unimodal.data.decoding.faults import guarded, warn_once
from unimodal.data.decoding.forms import as_sound, encoded
from unimodal.data.decoding.isolated import DECODER
from unimodal.data.decoding.sniffing import SOUND
from unimodal.types import Waveform

BLOCK = 1 << 18  # frames read at a time
SILENCE = 1e-4  # of full scale, about -80 dB


@dataclass(frozen=True)
class AudioFacts:
    """What a sound's header says: `seconds` (0 if it does not say), `sample_rate` in Hz, `channels`."""

    seconds: float
    sample_rate: int
    channels: int


def decode_audio(value: Any, where: str = "", max_seconds: float | None = None) -> Waveform:
    """A sound as float32 [S] in -1 to 1 at its own rate, the mean of its channels.

    Whole numbers are divided by the largest magnitude of their type. Samples beyond -1 to 1, which floats and
    lossy codecs may have, are divided by the peak, so that nothing is clipped; said once.

    Args:
        value: an encoded file, or any decoded form (`forms.as_sound`).
        where: what messages call it.
        max_seconds: no more than this is read, however long the file is.

    Raises:
        BadSample: with the file's name and the reason; also for no samples, NaN and infinity.
    """
    heard = as_sound(value, where, max_seconds)
    source = Encoded(data=b"", where=where or "a sound") if heard is not None else encoded(value, where)
    if heard is None:
        heard = _from_libsndfile(source, max_seconds) or _from_ffmpeg(source, max_seconds)
        _compare_rates(source, value, heard.sample_rate)
    samples, rate = heard
    if max_seconds is not None:
        samples = samples[: round(max_seconds * rate)]
    return Waveform(_in_range(samples, source), rate)


def probe_audio(value: Any, where: str = "") -> AudioFacts:
    """What the header says, without decoding; raises BadSample as `decode_audio` does."""
    heard = as_sound(value, where)
    if heard is not None:
        return AudioFacts(len(heard.samples) / heard.sample_rate, heard.sample_rate, 1)
    source = encoded(value, where)
    source.size()
    try:
        with _sound_file(source) as file:
            return AudioFacts(file.frames / file.samplerate, file.samplerate, file.channels)
    except (soundfile.SoundFileError, TypeError, OSError):
        header, _ = DECODER.ask(source, SOUND, {"do": "sound facts"})
        return AudioFacts(**header["facts"])


def is_silent(waveform: Waveform) -> bool:
    """Whether nothing can be heard: no samples, or all about the same (silence, a constant offset)."""
    samples = waveform.samples
    return not len(samples) or bool(samples.max() - samples.min() < 2 * SILENCE)


def _sound_file(source: Encoded) -> soundfile.SoundFile:
    return soundfile.SoundFile(source.path if source.data is None else BytesIO(source.data))


def _from_libsndfile(source: Encoded, max_seconds: float | None) -> Waveform | None:
    """None if it is no format of libsndfile's."""
    source.size()  # it is there, a file and not empty
    try:
        file = _sound_file(source)
    except (soundfile.SoundFileError, TypeError, OSError):  # TypeError: it is called .raw
        return None
    with guarded(source, SOUND), file:
        rate = file.samplerate
        wanted = file.frames if max_seconds is None else min(file.frames, round(max_seconds * rate))
        parts, count = _blocks(file, wanted, source)
        if not count:
            raise source.bad("has no samples")
        if count < wanted:
            warn_once(source, "is cut off: it holds less sound than its header says; what exists is used")
        return Waveform(torch.from_numpy(np.concatenate(parts)), rate)


def _blocks(file: soundfile.SoundFile, wanted: int, source: Encoded) -> tuple[list[np.ndarray], int]:
    """Up to `wanted` frames as they can be read, each the mean of its channels; and how many there are."""
    parts: list[np.ndarray] = []
    count = 0
    while count < wanted:
        try:
            block = file.read(min(BLOCK, wanted - count), dtype="float32", always_2d=True)
        except soundfile.SoundFileError:
            break
        if not len(block):
            break
        parts.append(block[:, 0] if block.shape[1] == 1 else block.mean(1))
        count += len(block)
    return parts, count


def _from_ffmpeg(source: Encoded, max_seconds: float | None) -> Waveform:
    header, payload = DECODER.ask(source, SOUND, {"do": "sound", "max_seconds": max_seconds})
    with guarded(source, SOUND):
        return Waveform(torch.frombuffer(payload, dtype=torch.float32), int(header["rate"]))


def _compare_rates(source: Encoded, value: Any, rate: int) -> None:
    said = value.get("sampling_rate") if isinstance(value, dict) else None
    if said and int(said) != rate:
        warn_once(
            source, f"has a sampling_rate of {said} beside it, but {rate} Hz in its header, which counts"
        )


def _in_range(samples: Tensor, source: Encoded) -> Tensor:
    if not samples.numel():
        raise source.bad("has no samples")
    peak = samples.abs().max()  # NaN and infinity come through
    if not torch.isfinite(peak):
        raise source.bad("has samples that are not finite (NaN or infinity)")
    if peak > 1:
        warn_once(source, f"has samples beyond -1 to 1 (peak {peak:.3g}); divided by the peak")
        return samples / peak
    return samples

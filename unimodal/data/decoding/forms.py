"""The forms that media may have in a data set, brought to one each: a file, pixels, a clip, a sound."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from unimodal.data.decoding.encoded import BadSample, Encoded
from unimodal.types import Waveform


def encoded(value: Any, where: str = "") -> Encoded:
    """A path (str or Path), bytes, or a dict of `path` and `bytes` (of both, the bytes count) as `Encoded`.

    Raises:
        BadSample: if it is something else, or a dict without either.
    """
    if isinstance(value, Encoded):
        return value
    if isinstance(value, str | Path):
        return Encoded(path=str(value), where=where)
    if isinstance(value, bytes | bytearray | memoryview):
        return Encoded(data=bytes(value), where=where)
    if isinstance(value, dict):
        path, data = value.get("path"), value.get("bytes")
        if data is not None:
            return Encoded(
                data=bytes(data), where=": ".join(part for part in (where, str(path or "")) if part)
            )
        if path is not None:
            return Encoded(path=str(path), where=where)
    raise unusable(value, where, "a path, bytes, or a dict with path or bytes")


def unusable(value: Any, where: str, wanted: str) -> BadSample:
    """The error for a value that has none of the forms that are taken."""
    what = (
        f"a dict with {', '.join(map(str, value)) or 'nothing'}" if isinstance(value, dict) else _kind(value)
    )
    return BadSample(f"{where or 'a sample'}: has {what} where {wanted} is wanted")


def as_picture(value: Any, where: str = "") -> Image.Image | None:
    """A decoded image as a PIL image; None if it is not decoded yet.

    Taken are PIL images, arrays with channels last ([H, W], or [H, W, C] with 1 to 4 channels) and tensors
    with channels first ([H, W] or [C, H, W]); values uint8, uint16 (/ 257), bool, or float in 0 to 1.
    """
    if isinstance(value, Image.Image):
        return value
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = (value.permute(1, 2, 0) if value.ndim == 3 else value).numpy()
    if not isinstance(value, np.ndarray):
        return None
    pixels = value[..., 0] if value.ndim == 3 and value.shape[2] == 1 else value
    shaped = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (2, 3, 4))
    if not shaped or not pixels.size:
        raise unusable(value, where, "an array [H, W, 3] (or a tensor [3, H, W])")
    return Image.fromarray(np.ascontiguousarray(_bytes(pixels, where)))


def as_clip(value: Any, where: str = "") -> Tensor | None:
    """A decoded video as uint8 [T, 3, H, W]; None if it is not decoded yet.

    Taken are tensors [T, 3, H, W], arrays [T, H, W, 3] and lists of images; values as in `as_picture`.
    """
    if isinstance(value, Tensor) and value.dtype == torch.uint8 and value.ndim == 4 and value.shape[1] == 3:
        if not value.numel():
            raise unusable(value, where, "a clip of at least one frame")
        return value
    if isinstance(value, list) and value and all(isinstance(frame, Image.Image) for frame in value):
        value = [np.asarray(frame.convert("RGB").resize(value[0].size)) for frame in value]
        return torch.from_numpy(np.stack(value)).permute(0, 3, 1, 2)
    if isinstance(value, Tensor) and value.ndim == 4:
        value = value.detach().cpu().permute(0, 2, 3, 1).numpy()
    if not isinstance(value, np.ndarray):
        return None
    if value.ndim != 4 or value.shape[3] != 3 or not value.size:
        raise unusable(value, where, "an array [T, H, W, 3] (or a tensor [T, 3, H, W])")
    return torch.from_numpy(np.ascontiguousarray(_bytes(value, where))).permute(0, 3, 1, 2)


def as_sound(value: Any, where: str = "", max_seconds: float | None = None) -> Waveform | None:
    """A decoded sound as float32 [S], the mean of its channels; None if it is not decoded yet.

    Taken are `Waveform`, a dict of `array` and `sampling_rate` (the shorter axis of two is the channels) and
    torchcodec's AudioDecoder. Integers are divided by their largest magnitude.
    """
    if isinstance(value, dict) and value.get("array") is not None:
        value = Waveform(torch.as_tensor(np.asarray(value["array"])), int(value.get("sampling_rate") or 0))
    elif is_decoder(value, "get_all_samples"):
        heard = value.get_all_samples()
        value = Waveform(heard.data, int(heard.sample_rate))
    if not isinstance(value, Waveform):
        return None
    samples, rate = value
    if rate <= 0 or samples.ndim not in (1, 2):
        raise unusable(value, where, "samples [S] or [C, S] with their sampling_rate")
    if samples.ndim == 2 and samples.shape[0] > samples.shape[1]:
        samples = samples.T
    keep = None if max_seconds is None else round(max_seconds * rate)
    samples = _floats(samples[..., :keep])
    return Waveform(samples.mean(0) if samples.ndim == 2 else samples, rate)


def is_decoder(value: Any, method: str) -> bool:
    """Whether it is one of torchcodec's decoders, by its documented method; torchcodec is not imported."""
    return callable(getattr(value, method, None))


def _bytes(pixels: np.ndarray, where: str) -> np.ndarray:
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * 255
    if pixels.dtype == np.uint16:
        return np.round(pixels / 257).astype(np.uint8)
    if pixels.dtype.kind == "f" and pixels.min() >= 0 and pixels.max() <= 1:  # false for NaN
        return np.round(pixels * 255).astype(np.uint8)
    raise unusable(pixels, where, "values uint8, uint16, bool, or float in 0 to 1")


def _floats(samples: Tensor) -> Tensor:
    if samples.dtype == torch.uint8:
        return (samples.float() - 128) / 128
    if samples.is_floating_point():
        return samples.float()
    return (samples.double() / -float(torch.iinfo(samples.dtype).min)).float()


def _kind(value: Any) -> str:
    name = type(value).__name__
    if isinstance(value, Waveform):
        return f"a Waveform of {tuple(value.samples.shape)} at {value.sample_rate} Hz"
    if isinstance(value, Tensor | np.ndarray):
        return f"{name} of {str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return name

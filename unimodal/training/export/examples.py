"""Real samples for the comparison: decoded media, before any preprocessing."""

from collections import ChainMap
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
import torch
from PIL import Image

from unimodal.data.decoding.encoded import BadSample
from unimodal.data.decoding.images import decode_image
from unimodal.data.decoding.texts import decode_text
from unimodal.data.decoding.videos import decode_video
from unimodal.data.media import FIT, fit_audio
from unimodal.data.sources.base import Source
from unimodal.hub.usage_inputs import INPUTS
from unimodal.training import build
from unimodal.types import Sample, Waveform

NOISE = "compared on noise, because the run's data is not here"
SOUND_RATE = 22_050  # Hz, of one second; models have other rates


def examples(config: build.Config, field: str, preprocess: Any, num: int) -> tuple[list[Sample], str]:
    """Up to `num` samples of the run's held-out data, each with its decoded `field` only, and a note.

    Where the data is gone they are noise, and the note says so.
    """
    try:
        source = build.make_source(config)
        found = _from(source, field, preprocess, num)
    except (ValueError, OSError):
        found = []
    if found:
        return found, ""
    generator = np.random.default_rng(0)
    return [_noise(field, preprocess, generator) for _ in range(min(num, 2))], NOISE


def captioned(config: build.Config, preprocess: Mapping[str, Any], num: int) -> tuple[list[Sample], str]:
    """As `examples`, with all media of each sample and its `prompt`, "" where it has none."""
    try:
        rows = build.make_source(config).split("val")
        found = list(islice(_captioned(rows, preprocess), num))
    except (ValueError, OSError):
        found = []
    if found:
        return found, ""
    generator = np.random.default_rng(0)
    noises = [
        [_noise(field, one, generator) for field, one in preprocess.items()] for _ in range(min(num, 2))
    ]
    return [dict(ChainMap({"prompt": ""}, *noise)) for noise in noises], NOISE


def tensors(sample: Sample, field: str, preprocess: Any) -> dict[str, torch.Tensor]:
    """A batch of this one sample, as training would make it."""
    fitted = FIT[field](sample, preprocess)
    return {key: value[None] for key, value in preprocess(fitted).items()}


def as_array(sample: Sample, field: str) -> np.ndarray:
    """The sample as transformers' processors take it."""
    value = sample[field]
    if field == "text":
        return np.array(value)
    if field == "audio":
        return value.samples.numpy()
    return value.movedim(-3, -1).contiguous().numpy()  # [..., H, W, 3]


def plain_text(text: str, preprocess: Any) -> str:
    """The text without the strings of special tokens: one token in a folder, plain text in training."""
    special = [one.content for one in preprocess.fast.get_added_tokens_decoder().values() if one.special]
    while found := next((token for token in special if token in text), ""):
        text = text.replace(found, "")
    return text


def write_media(folder: Path, preprocess: Mapping[str, Any]) -> None:
    """Write a picture, a sound and a clip of noise under the names that the lines of a model card have.

    Args:
        folder: is there.
        preprocess: by the modalities that are wanted; a clip is longer than the model's.
    """
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (45, 61, 3), dtype=np.uint8)
    if "image" in preprocess:
        Image.fromarray(pixels).save(folder / INPUTS["image"].file)
    if "audio" in preprocess:
        sound = generator.normal(0, 0.1, (SOUND_RATE, 2))
        soundfile.write(folder / INPUTS["audio"].file, sound, SOUND_RATE)
    if "video" in preprocess:
        with av.open(str(folder / INPUTS["video"].file), "w") as file:
            stream = file.add_stream("mpeg4", rate=10, width=64, height=48)
            for _ in range(2 * preprocess["video"].num_frames + 1):
                pixels = generator.integers(0, 256, (48, 64, 3), dtype=np.uint8)
                file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            file.mux(stream.encode())


def _from(source: Source, field: str, preprocess: Any, num: int) -> list[Sample]:
    rows = source.split("val")
    found: list[Sample] = []
    for index in range(len(rows)):
        if len(found) == num:
            break
        with suppress(BadSample):  # which training leaves out as well, or reports
            sample = rows[index]
            parts = [part for part in sample.get("parts", [sample]) if field in part]
            found += [{field: _decoded(part, field, preprocess)} for part in parts[:1]]
    return found


def _captioned(rows: Any, preprocess: Mapping[str, Any]) -> Iterator[Sample]:
    for index in range(len(rows)):
        with suppress(BadSample):
            sample = rows[index]
            media = {field: _decoded(sample, field, one) for field, one in preprocess.items()}
            yield {**media, "prompt": decode_text(sample.get("prompt") or "")}


def _decoded(sample: Sample, field: str, preprocess: Any) -> Any:
    if field == "image":
        return decode_image(sample["image"])
    if field == "video":
        return decode_video(sample["video"], preprocess.num_frames, None)
    if field == "audio":
        return fit_audio(sample, preprocess)["audio"]
    return plain_text(decode_text(sample["text"]), preprocess)


def _noise(field: str, preprocess: Any, generator: np.random.Generator) -> Sample:
    if field == "text":
        return {"text": "".join(map(chr, generator.integers(32, 127, 40)))}
    if field == "audio":
        samples = generator.normal(0, 0.1, round(preprocess.max_seconds * preprocess.sample_rate))
        return {"audio": Waveform(torch.tensor(samples, dtype=torch.float32), preprocess.sample_rate)}
    frames = (preprocess.num_frames,) if field == "video" else ()
    return {field: torch.from_numpy(generator.integers(0, 256, (*frames, 3, 45, 61), dtype=np.uint8))}

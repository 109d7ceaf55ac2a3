"""Animated WebP and AVIF files to clips, by Pillow. Runs in the decoder process.

FFmpeg has no decoder for animated WebP, and reads no transparency of AVIF.
"""

from bisect import bisect_right
from io import BytesIO
from itertools import accumulate

import numpy as np
from PIL import Image, UnidentifiedImageError, features

from unimodal.data.decoding.messages import Answer, Unusable
from unimodal.data.decoding.rgb import GREY, to_rgb, upright
from unimodal.data.decoding.stored import keep_transparency

FORMATS = ("WEBP", "AVIF")
DEFAULT_MS = 100  # of a frame whose duration is 0, as browsers show it


def is_animation(file: str | BytesIO) -> bool:
    """Whether the file is WebP, or AVIF where Pillow has it; a still picture is an animation of one frame."""
    head = file.getvalue()[:64] if isinstance(file, BytesIO) else _head(file)
    if head[:4] == b"RIFF":
        return head[8:12] == b"WEBP"
    brands = head[8:64]
    return head[4:8] == b"ftyp" and (b"avif" in brands or b"avis" in brands) and bool(features.check("avif"))


def read_clip(file: str | BytesIO, num_frames: int, size: tuple[int, int] | None) -> Answer:
    """Frames [T, 3, H, W], each the one shown in the middle of its share of the duration."""
    with _opened(file) as image:
        lengths, notes = _lengths(image)
        ends, total = list(accumulate(lengths)), sum(lengths)
        shown = [bisect_right(ends, (i + 0.5) / num_frames * total) for i in range(num_frames)]
        frames = {index: _frame(image, index, size) for index in sorted(set(shown))}
    clip = np.stack([frames[index] for index in shown])
    return {"shape": [num_frames, 3, *clip.shape[1:3]], "notes": notes}, clip.transpose(0, 3, 1, 2)


def read_facts(file: str | BytesIO) -> Answer:
    """Duration, mean rate and size; all frames are read, as the header has no duration."""
    with _opened(file) as image:
        lengths, notes = _lengths(image)
        seconds = sum(lengths) / 1000
        facts = {
            "seconds": seconds,
            "fps": len(lengths) / seconds,
            "width": image.size[0],
            "height": image.size[1],
        }
    return {"facts": facts, "notes": notes}, np.empty(0)


def _opened(file: str | BytesIO) -> Image.Image:
    try:
        return Image.open(file, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise ValueError("its header is broken, or the file is cut off") from error


def _head(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(64)


def _lengths(image: Image.Image) -> tuple[list[int], list[str]]:
    """How long each frame is shown, in milliseconds, and what there is to warn of."""
    lengths: list[int] = []
    keep_transparency(image)
    for index in range(getattr(image, "n_frames", 1)):
        try:
            image.seek(index)
            image.load()
        except (EOFError, OSError, ValueError) as error:
            if not lengths:
                raise Unusable(f"has no frame that can be decoded ({error})") from error
            return lengths, ["is damaged or cut off; what can be decoded is used"]
        lengths.append(image.info.get("duration") or DEFAULT_MS)
    return lengths, []


def _frame(image: Image.Image, index: int, size: tuple[int, int] | None) -> np.ndarray:
    image.seek(index)
    image.load()
    picture = to_rgb(upright(image), GREY)
    if size is not None and picture.size != (size[1], size[0]):
        picture = picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(picture)

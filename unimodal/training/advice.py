"""Settings that fit the data better than those chosen, as overrides to type."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

MAX_IMAGE_SIZE, MAX_FRAMES = 224, 32  # nobody needs more to start with
HOPS = {"num_frames": 1, "num_positions": 2}  # in a step of a knob that takes the place of max_seconds


def advise(
    sizes: Mapping[str, Sequence[float]], tokens: Sequence[int], preprocess: Mapping[str, Any], node: Any
) -> list[str]:
    """One line for each setting that could be better.

    Args:
        sizes: by name, of all samples.
        tokens: of each sample.
        preprocess: of each tokenizer, by field.
        node: the tokenizer's part of the config.
    """
    lines: list[str] = []
    if "image_size" in node and "image" in preprocess and "height (pixels)" in sizes:
        lines += _pixels(sizes["height (pixels)"], preprocess["image"].image_size[0], node)
    if "video" in preprocess and "length (seconds)" in sizes:
        lines += _frames(sizes["length (seconds)"], preprocess["video"].num_frames, node)
    if "audio" in preprocess and "length (seconds)" in sizes:
        lines += _seconds(sizes, preprocess["audio"], node)
    if "text" in preprocess and len(tokens):
        lines += _length(tokens, preprocess["text"].max_len)
    return lines


def _pixels(heights: Sequence[float], chosen: int, node: Any) -> list[str]:
    step = node.get("patch_size") or 2 ** node.get("num_layers", 3)
    fitting = int(min(np.median(heights), MAX_IMAGE_SIZE) // step * step)
    if fitting < 1.5 * chosen:
        return []
    middle = max(chosen * 2, 64) // step * step
    return [
        f"images are {np.median(heights):g} pixels high and shrink to {chosen}: "
        f"tokenizer.image_size={min(middle, fitting)} or up to {fitting} shows more (and takes longer)"
    ]


def _frames(seconds: Sequence[float], chosen: int, node: Any) -> list[str]:
    step = int(node.get("tubelet_size", 1))
    fitting = int(np.clip(round(4 * float(np.median(seconds)) / step) * step, step, MAX_FRAMES))
    if fitting == chosen:
        return []
    rate = chosen / max(float(np.median(seconds)), 1e-3)
    return [
        f"{chosen} frames of {np.median(seconds):.3g} s are {rate:.2g} frames a second: "
        f"tokenizer.num_frames={fitting} would be four"
    ]


def _seconds(sizes: Mapping[str, Sequence[float]], preprocess: Any, node: Any) -> list[str]:
    lines = []
    longest, rate = (
        float(np.quantile(sizes["length (seconds)"], 0.95)),
        float(np.median(sizes["sample rate (Hz)"])),
    )
    cut = float(np.mean(np.array(sizes["length (seconds)"]) > preprocess.max_seconds))
    if cut:
        wanted = f"max_seconds={longest:.3g}"
        for knob in HOPS.keys() & node.keys():
            hops = longest * preprocess.sample_rate / preprocess.hop_length
            wanted = f"{knob}={math.ceil(hops / HOPS[knob])}"
        lines.append(f"{cut:.0%} of the clips are cut: tokenizer.{wanted} keeps 95% whole")
    if rate > preprocess.sample_rate:
        lines.append(
            f"sounds have {rate:g} Hz and are brought down to {preprocess.sample_rate}: "
            f"tokenizer.sample_rate={min(int(rate), 16_000)} keeps more"
        )
    return lines


def _length(tokens: Sequence[int], chosen: int) -> list[str]:
    fitting = int(-(-np.quantile(tokens, 0.95) // 16) * 16)
    cut, whole = float(np.mean(np.array(tokens) > chosen)), "all" if fitting >= max(tokens) else "95%"
    if cut:
        return [
            f"{cut:.0%} of the texts are cut at {chosen} tokens: "
            f"tokenizer.max_len={fitting} keeps {whole} whole"
        ]
    return (
        [f"95% of the texts have at most {fitting} tokens: tokenizer.max_len={fitting} is enough"]
        if (fitting < chosen)
        else []
    )

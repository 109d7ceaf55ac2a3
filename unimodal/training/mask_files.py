"""Masks that a task answers, as files beside the other answers."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from unimodal.data.decoding.images import decode_image
from unimodal.data.decoding.masks import decode_mask, mask_picture
from unimodal.data.sources.inputs import Inputs


def save_masks(output: Path, inputs: Inputs, answers: Mapping[int, Any]) -> dict[int, Any]:
    """The answers, each mask among them written to a palette PNG whose name takes its place.

    A mask uint8 [H, W] is enlarged to its input's own size, each pixel as the nearest. The files lie in
    `predictions_masks` where the output is `predictions.csv`, named after the inputs.
    """
    folder, taken = output.with_name(f"{output.stem}_masks"), set[str]()
    return {
        index: {key: _saved(folder, taken, inputs, index, value) for key, value in answer.items()}
        if isinstance(answer, Mapping)
        else answer
        for index, answer in answers.items()
    }


def _saved(folder: Path, taken: set[str], inputs: Inputs, index: int, value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    folder.mkdir(exist_ok=True)
    stem = re.sub(r"[^\w.-]+", "_", Path(inputs.names[index]).stem)
    stem = f"{stem}_{index}" if stem in taken else stem
    taken.add(stem)
    size = decode_image(inputs[index]["image"]).shape[1:]
    mask_picture(decode_mask(value, size)).save(folder / f"{stem}.png")
    return f"{folder.name}/{stem}.png"

"""Pictures and clips: whole resize, bilinear on uint8, and mean and standard deviation of values in 0 to 1.

The stock classes pick torchvision where it is installed, as it is beside unimodal: then they resize with the
very call that `data` uses. Where it is not, they resize with Pillow, and values may differ by a grey level.
"""

from math import isfinite
from typing import Any

from transformers import (
    InternVLVideoProcessor,
    VideoMAEImageProcessor,
    VideoMAEVideoProcessor,
    ViTImageProcessor,
)
from transformers.image_utils import PILImageResampling

from unimodal.hub.processors.arguments import arguments
from unimodal.hub.trained import Node
from unimodal.tokenizers.base import pair

WHITE = 255  # what a uint8 counts to


def image_processor(node: Node) -> ViTImageProcessor:
    """For any tokenizer that takes `image_size`, `mean` and `std`."""
    return ViTImageProcessor(**_pixels(node))


def frames_processor(node: Node) -> VideoMAEImageProcessor:
    """For a list of frames, as many as the model reads: of old, clips too had an image processor.

    It serves ViViT too: `VivitImageProcessor` resizes with Pillow whatever is installed.
    """
    return VideoMAEImageProcessor(**_pixels(node))


def video_processor(node: Node, portable: bool) -> InternVLVideoProcessor | VideoMAEVideoProcessor:
    """For whole clips.

    A portable model reads `pixel_values_videos`. InternVL's class alone, of those in transformers, samples
    the middles of equal shares, as `data` does: a decoded clip of any length gives our frames (one with fewer
    frames than the model reads is refused there). Native video models read `pixel_values`, and the one class
    that serves them samples where the shares begin: hand it the frames that the model is to read.
    """
    if portable:
        num_frames = arguments(node)["num_frames"]
        return InternVLVideoProcessor(
            **_pixels(node), num_frames=num_frames, do_sample_frames=True, initial_shift=True
        )
    return VideoMAEVideoProcessor(**_pixels(node), do_sample_frames=False)


def _pixels(node: Node) -> dict[str, Any]:
    knobs = arguments(node)
    height, width = pair(knobs["image_size"], "tokenizer.image_size")
    return {
        "do_resize": True,
        "size": {"height": height, "width": width},
        "resample": PILImageResampling.BILINEAR,
        "do_center_crop": False,
        "do_rescale": True,
        "rescale_factor": 1 / WHITE,
        "do_normalize": True,
        "image_mean": list(knobs["mean"]),
        "image_std": list(knobs["std"]),
        "do_convert_rgb": True,
    }


def read_pixels(values: dict[str, Any]) -> dict[str, Any]:
    """Knobs of an image or video tokenizer.

    Args:
        values: of a stock processor, its class's defaults filled in.

    Returns:
        `mean` and `std` of values in 0 to 1, whatever the processor scales them to; `image_size` where it
        resizes to one; `note`, where it resizes otherwise than we do.
    """
    scale = values["rescale_factor"] * WHITE if values["do_rescale"] else WHITE
    # ViViT alone shifts what it has scaled by -1; its video class has no knob for that.
    shifts = values.get("offset", values["kind"] == "VivitVideoProcessor") and values["do_rescale"]
    normal = values["do_normalize"]
    mean = _three(values["image_mean"]) if normal else [0.0] * 3
    std = _three(values["image_std"]) if normal else [1.0] * 3
    if not all(isfinite(v) for v in (*mean, *std)) or min(std) * scale <= 0:
        raise ValueError(f"image_mean={mean}, image_std={std} or rescale_factor is out of range")
    knobs: dict[str, Any] = {
        "mean": [(m + bool(shifts)) / scale for m in mean],
        "std": [s / scale for s in std],
    }
    size = _size(values)
    return knobs if size is None else {**knobs, "image_size": list(size), **_note(values)}


def _three(value: Any) -> list[float]:
    """Per channel, from one number or three."""
    values = [value] if isinstance(value, int | float) else list(value)
    if len(values) not in (1, 3):
        raise ValueError(f"{value} is not one number or three")
    return [float(v) for v in values] * (3 // len(values))


def _size(values: dict[str, Any]) -> tuple[int, int] | None:
    """(height, width) of what comes out; None where it depends on the picture."""
    cropped = bool(values.get("do_center_crop"))
    if not (cropped or values["do_resize"]):
        return None
    size = values["crop_size"] if cropped else values["size"]
    if "height" in size and "width" in size:
        return int(size["height"]), int(size["width"])
    edge = size.get("shortest_edge") if "longest_edge" not in size else None
    return None if edge is None else (int(edge), int(edge))


def _note(values: dict[str, Any]) -> dict[str, str]:
    """Says so where pictures come out otherwise than by our resize."""
    theirs = []
    if values["do_resize"] and values["resample"] != PILImageResampling.BILINEAR:
        theirs.append(f"resizes by {PILImageResampling(values['resample']).name.lower()} interpolation")
    if values["do_resize"] and "shortest_edge" in values["size"]:
        theirs.append(f"brings the shortest edge to {values['size']['shortest_edge']}")
    if values.get("do_center_crop"):
        theirs.append("cuts out the centre")
    if not theirs:
        return {}
    does = " and ".join(theirs)
    return {"note": f"{values['kind']} {does}; here pictures are resized whole, by bilinear interpolation."}

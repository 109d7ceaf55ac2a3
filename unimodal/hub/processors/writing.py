"""Stock processors beside the weights."""

import json
from pathlib import Path
from typing import Any

from unimodal.hub.processors.pixels import frames_processor, image_processor, video_processor
from unimodal.hub.processors.sound import feature_extractor
from unimodal.hub.processors.text import write_prompts, write_text
from unimodal.hub.processors.transcripts import write_transcripts
from unimodal.hub.trained import CAPTIONING, CTC, Trained
from unimodal.hub.usage import LANGUAGE_MODEL

PLAIN = "preprocessor_config.json"
VIDEO = "video_preprocessor_config.json"
NESTED = "processor_config.json"


def write_processors(folder: Path, trained: Trained, portable: bool) -> None:
    """The files that transformers' Auto classes of processors and tokenizers load.

    Images and sound both want `preprocessor_config.json`. Where there are several media, each has its part
    of `processor_config.json`, which transformers reads first, and the plain file holds the first of image,
    sound and video. transformers has no class for any such set: AutoProcessor then gives the first that it
    finds of tokenizer, image, video and sound, so load each by its own Auto class.

    Args:
        folder: is there.
        trained: its tokenizers are written.
        portable: the model beside them reads what our tokenizers read: waveforms, and clips as
            `pixel_values_videos`. A native one reads what its family's processor gives.

    Raises:
        ValueError: if no stock processor does what a tokenizer reads.
    """
    parts = _parts(trained, portable)
    plain = next((parts[key] for key in ("image_processor", "feature_extractor") if key in parts), None)
    if plain is not None:
        _write(folder / PLAIN, plain)
    if "video_processor" in parts:
        _write(folder / VIDEO, parts["video_processor"])
    if len(trained.tokenizers.keys() & {"image", "audio", "video"}) > 1:
        _write(folder / NESTED, parts)
    if trained.task["_target_"] == CTC:
        write_transcripts(folder, trained.task["vocabulary"])
    elif trained.task["_target_"] == CAPTIONING:
        write_prompts(folder, trained.tokenizers["text"])
    elif "text" in trained.tokenizers:
        write_text(folder, trained.tokenizers["text"], causal=writes_text(trained))


def writes_text(trained: Trained) -> bool:
    """Whether the task continues prompts."""
    return trained.task["_target_"].rpartition(".")[2] == LANGUAGE_MODEL


def _parts(trained: Trained, portable: bool) -> dict[str, dict[str, Any]]:
    """By the names of `processor_config.json`."""
    nodes = trained.tokenizers
    stock: dict[str, Any] = {}
    if "video" in nodes:
        stock["image_processor"] = frames_processor(nodes["video"])
        stock["video_processor"] = video_processor(nodes["video"], portable)
    if "image" in nodes:
        stock["image_processor"] = image_processor(nodes["image"])
    if "audio" in nodes:
        stock["feature_extractor"] = feature_extractor(nodes["audio"], portable)
    return {key: json.loads(processor.to_json_string()) for key, processor in stock.items()}


def _write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")

"""Which modality a tokenizer reads, before it is built."""

from collections.abc import Mapping
from typing import Any

from hydra.utils import get_object

FIELDS = {
    "pixel_values": "image",
    "input_values": "audio",
    "pixel_values_videos": "video",
    "input_ids": "text",
}


def field_of(tokenizer: Mapping[str, Any]) -> str:
    """Which of the four the run reads; by the key of the batch, which every tokenizer has."""
    return FIELDS.get(get_object(tokenizer["_target_"]).input_key, "another modality")

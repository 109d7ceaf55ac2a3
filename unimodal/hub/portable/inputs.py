"""From the keys of stock processors to a batch."""

import torch
from torch import Tensor

from unimodal.types import Batch


def make_batch(
    input_ids: Tensor | None = None,
    attention_mask: Tensor | None = None,
    position_ids: Tensor | None = None,
    pixel_values: Tensor | None = None,
    pixel_values_videos: Tensor | None = None,
    input_values: Tensor | None = None,
    input_values_mask: Tensor | None = None,
    max_samples: int | None = None,
    parts: Tensor | None = None,
) -> Batch:
    """Any modalities together.

    `pixel_values` [B, T, 3, H, W] are videos, as VideoMAE's processor calls them. `attention_mask` belongs to
    `input_ids`; without text it is the waveform's, as Wav2Vec2's extractor gives it. `parts` int [B, P] says
    of samples with several parts in any order which tokenizer, in the config's order, reads each; -1 = none.
    """
    batch: Batch = {} if parts is None else {"parts": parts}
    if input_ids is not None:
        batch["input_ids"] = input_ids
        if attention_mask is not None:
            batch["attention_mask"] = attention_mask
        if position_ids is None and attention_mask is not None:
            position_ids = places(attention_mask)
        if position_ids is not None:
            batch["position_ids"] = position_ids
    if pixel_values is not None:
        batch["pixel_values_videos" if pixel_values.ndim == 5 else "pixel_values"] = pixel_values
    if pixel_values_videos is not None:
        batch["pixel_values_videos"] = pixel_values_videos
    if input_values is not None:
        batch["input_values"] = input_values[:, :max_samples]
        if input_values_mask is None and input_ids is None:
            input_values_mask = attention_mask
        if input_values_mask is not None:
            batch["input_values_mask"] = input_values_mask[:, :max_samples].bool()
    return batch


def places(attention_mask: Tensor) -> Tensor:
    """The place of each token in its text, int [B, N], wherever padding stands."""
    return (attention_mask.long().cumsum(1) - 1).clamp_min(0)


def continued(ids: Tensor, mask: Tensor | None, position_ids: Tensor | None, seen: int) -> Batch:
    """The batch of new tokens after `seen` old ones; `mask` is of all."""
    num = ids.shape[1]
    if position_ids is None:
        position_ids = (
            torch.arange(seen, seen + num, device=ids.device)[None]
            if mask is None
            else places(mask)[:, -num:]
        )
    batch = {"input_ids": ids, "position_ids": position_ids}
    return batch if mask is None else {**batch, "attention_mask": mask[:, -num:]}

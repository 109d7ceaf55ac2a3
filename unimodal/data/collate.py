"""From examples to a batch: the only place where anything is padded."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from unimodal.types import IGNORED, Batch

MASK_OF = {"input_ids": "attention_mask"}  # Hugging Face's name; any other padded KEY has KEY_mask
FOLLOWERS = ("labels", "byte_counts", "spectrogram_mask", "patch_places")  # padded beside what they describe


def collate(examples: list[dict[str, Any]]) -> Batch:
    """Stack each key, padding the first axis to the batch's longest example; labels are padded with -100.

    A key that was padded gets a mask, True = real. Where nothing is padded there is no mask, which tells the
    tokenizer that attention needs none. Of examples in `parts`, each the number of its tokenizer and its
    tensors, those of one tokenizer are stacked together; `parts` becomes int [B, P], -1 = no part.

    Raises:
        ValueError: if examples have different keys, or shapes that differ in more than the first axis.
    """
    keys = examples[0].keys()
    for example in examples:
        if example.keys() != keys:
            raise ValueError(
                f"examples of one batch differ: one has {', '.join(keys)}, one {', '.join(example)}."
            )
    batch: Batch = _interleaved([example["parts"] for example in examples]) if "parts" in keys else {}
    for key in (key for key in keys if key != "parts"):
        tensors = [example[key] for example in examples]
        batch[key] = _pad(key, tensors)
        if key not in FOLLOWERS and _differ(tensors):
            batch[MASK_OF.get(key, f"{key}_mask")] = _mask(tensors)
    return batch


def _interleaved(samples: list[list[tuple[int, dict[str, Tensor]]]]) -> Batch:
    items: dict[int, list[dict[str, Tensor]]] = {}
    for which, tensors in (part for sample in samples for part in sample):
        items.setdefault(which, []).append(tensors)
    numbers = [torch.tensor([which for which, _ in sample]) for sample in samples]
    batch: Batch = {"parts": pad_sequence(numbers, batch_first=True, padding_value=-1)}
    for same in items.values():
        batch |= collate(same)
    return batch


def _differ(tensors: list[Tensor]) -> bool:
    return any(t.shape[:1] != tensors[0].shape[:1] for t in tensors)


def _mask(tensors: list[Tensor]) -> Tensor:
    length = torch.tensor([len(t) for t in tensors])
    return torch.arange(int(length.max())) < length[:, None]


def _pad(key: str, tensors: list[Tensor]) -> Tensor:
    if any(t.ndim != tensors[0].ndim or t.shape[1:] != tensors[0].shape[1:] for t in tensors):
        raise ValueError(f"{key} of one batch differs in shape: {sorted({tuple(t.shape) for t in tensors})}.")
    if not _differ(tensors):
        return torch.stack(tensors)
    longest, value = max(len(t) for t in tensors), IGNORED if key == "labels" else 0
    rest = [0, 0] * (tensors[0].ndim - 1)
    return torch.stack([F.pad(t, (*rest, 0, longest - len(t)), value=value) for t in tensors])

"""The contract between data, tokenizers, backbone and tasks.

Axis letters, everywhere: B batch, N tokens, D dim, H heads, C channels or classes, T frames, S samples.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

IGNORED = -100  # a label that neither loss nor metrics count

Sample = dict[str, Any]
"""One example: any of `text` (str), `image` (uint8 [3, H, W]), `audio` (`Waveform`) and `video` (uint8
[T, 3, H, W]), beside `label` where there is one: an int, or float [C or K] for several classes or numbers,
and `prompt`, a str that is asked of the media.
Or `parts` instead, a list of such with one modality each, in any order and also several of one.
Until `data` has prepared it, an encoded file or its bytes may stand for any of the media."""

Batch = dict[str, Tensor]
"""Collated tensors under Hugging Face's names: `input_ids` int [B, N]; `pixel_values` uint8 or float
[B, 3, H, W]; `input_values` float [B, S], -1 to 1; `pixel_values_videos` uint8 or float [B, T, 3, H, W];
`labels`. `attention_mask` [B, N] belongs to `input_ids`; any other padded KEY has its own `KEY_mask`.
With `parts` int [B, P] (see `interleaving`) the keys of a modality hold all its items, of whatever sample."""


class Waveform(NamedTuple):
    """Mono sound: `samples` float32 [S] in -1 to 1, `sample_rate` in Hz."""

    samples: Tensor
    sample_rate: int


@dataclass(frozen=True)
class TokenSequence:
    """What every tokenizer returns and every backbone takes and returns. Nothing else crosses.

    Attributes:
        embeds: float [B, N, D], tokens in the shared width.
        mask: bool [B, N], True = a real token. What padding holds never changes what real tokens become.
        positions: float [B or 1, N, 3], (t, h, w) coordinates of the one rotary embedding; a leading 1 is
            shared by the whole batch. Text token p is (p, p, p), which is the usual 1-D RoPE exactly.
        segments: int [B, N] or None. Packed sequences: tokens see only their own segment.
        padded: False promises that `mask` is True throughout, so that attention may take its fastest
            kernel without asking the device.
    """

    embeds: Tensor
    mask: Tensor
    positions: Tensor
    segments: Tensor | None = None
    padded: bool = True

    def with_embeds(self, embeds: Tensor) -> "TokenSequence":
        """The same tokens after another layer."""
        return replace(self, embeds=embeds)


def full_mask(embeds: Tensor) -> Tensor:
    """The mask [B, N] of a sequence [B, N, D] without padding."""
    return torch.ones(embeds.shape[:2], dtype=torch.bool, device=embeds.device)


def concatenate(sequences: list[TokenSequence]) -> TokenSequence:
    """Join sequences of one batch along N, each placed after the last coordinate of the one before it.

    Padding takes no room: where a row's tokens stand does not depend on the batch that it is in.

    Raises:
        ValueError: if there is nothing to join, or packed and unpacked sequences meet.
    """
    if not sequences:
        raise ValueError("there is no sequence to concatenate.")
    if len(sequences) == 1:
        return sequences[0]
    if any(s.segments is not None for s in sequences):
        raise ValueError("packed sequences (segments) are already joined; concatenate before packing.")
    batch, start, positions = sequences[0].embeds.shape[0], sequences[0].positions.new_zeros(1, 1, 1), []
    for s in sequences:
        positions.append(s.positions + start)
        beyond = (positions[-1] + 1) * s.mask[..., None]
        start = torch.maximum(start, beyond.amax((1, 2), keepdim=True))
    return TokenSequence(
        embeds=torch.cat([s.embeds for s in sequences], 1),
        mask=torch.cat([s.mask for s in sequences], 1),
        positions=torch.cat([p.expand(batch, -1, -1) for p in positions], 1),
        padded=any(s.padded for s in sequences),
    )

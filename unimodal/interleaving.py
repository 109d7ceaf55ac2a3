"""Samples of several parts in any order: the parts' tokens become one sequence a sample.

Parts of one modality are tokenized together, whatever samples they belong to:

    samples            parts, by tokenizer (0 image, 1 text, 2 audio)    tokenized
    text image text    1  0  1                                           image  2 items
    audio              2 -1 -1                                           text   3 items
    image text         0  1 -1                                           audio  1 item
"""

import torch
from torch import Tensor

from unimodal.types import TokenSequence

PARTS = "parts"


def interleave(tokenized: list[TokenSequence], parts: Tensor) -> TokenSequence:
    """One sequence a sample, as `types.concatenate` would join its parts alone.

    The padding of parts is left out, so that what becomes of a sample does not depend on its batch.

    Args:
        tokenized: all items [I, N, D] of each modality that the batch holds, sample by sample, in the order
            of the numbers in `parts`.
        parts: int [B, P], which tokenizer reads each part of a sample, -1 = no part.

    Raises:
        ValueError: if there are not as many items as parts, or packed sequences.
    """
    if any(tokens.segments is not None for tokens in tokenized):
        raise ValueError("packed sequences (segments) cannot be parts of a sample.")
    sizes = [len(tokens.embeds) for tokens in tokenized]
    # Sorted by tokenizer the places of all parts stand as the items do; places without a part come first.
    places = parts.flatten().argsort(stable=True)[parts.numel() - sum(sizes) :]
    starts, ends = _lay(torch.cat([tokens.mask.sum(1) for tokens in tokenized]), places, parts)
    offsets, _ = _lay(torch.cat([_extent(tokens) for tokens in tokenized]), places, parts)
    figures = (ends.amax(), ends.amin(), (parts >= 0).sum())
    longest, shortest, num_parts = torch.stack(figures).tolist()  # the device is asked only here
    if num_parts != sum(sizes):
        raise ValueError(f"the batch has {sum(sizes)} items for {num_parts} {PARTS}.")
    first = places // parts.shape[1] * longest + starts
    shape, targets, positions = (len(parts), longest), [], []
    for tokens, start, offset in zip(tokenized, first.split(sizes), offsets.split(sizes), strict=True):
        place = start[:, None] + tokens.mask.cumsum(1) - 1
        targets.append(torch.where(tokens.mask, place, len(parts) * longest).flatten())  # padding: the end
        positions.append((tokens.positions + offset[:, None, None]).flatten(0, 1))
    embeds, target = torch.cat([tokens.embeds.flatten(0, 1) for tokens in tokenized]), torch.cat(targets)
    return TokenSequence(
        embeds=_scatter(embeds, target, shape),
        mask=torch.arange(longest, device=parts.device) < ends[:, None],
        positions=_scatter(torch.cat(positions), target, shape),
        padded=shortest < longest,
    )


def _extent(tokens: TokenSequence) -> Tensor:
    """How far each item's coordinates reach, [I]: where the next part begins."""
    beyond = (tokens.positions + 1) * tokens.mask[..., None]  # padding takes no room
    return beyond.amax((1, 2)).clamp_min(0)


def _lay(lengths: Tensor, places: Tensor, parts: Tensor) -> tuple[Tensor, Tensor]:
    """Lay the items of each sample end to end: where each begins, [I], and where each sample ends, [B]."""
    room = lengths.new_zeros(parts.numel()).index_copy(0, places, lengths).view_as(parts)
    ends = room.cumsum(1)
    return (ends - room).flatten()[places], ends[:, -1]


def _scatter(values: Tensor, target: Tensor, shape: tuple[int, int]) -> Tensor:
    """Rows of `values` [T, D] at flat places, as [*shape, D]; the place after the last is dropped."""
    flat = values.new_zeros(shape[0] * shape[1] + 1, values.shape[1])
    return flat.index_copy(0, target, values)[:-1].unflatten(0, shape)

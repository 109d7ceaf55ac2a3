"""Several sequences in one row, so that a batch of different lengths is not mostly padding.

    padded [B, N]     rows 0 0 1 1     packed [R, M]   segments
      a a a .                            a a a b       0 0 0 1
      b . . .                            c c d d       2 2 3 3
      c c . .
      d d . .

A segment sees itself only and its coordinates are its own, so each sequence becomes what it becomes alone.
"""

from dataclasses import replace

import torch
from torch import Tensor

from unimodal.types import TokenSequence


def pack(tokens: TokenSequence, rows: Tensor) -> tuple[TokenSequence, Tensor]:
    """Move the real tokens into rows, sample after sample.

    Args:
        tokens: of B samples, without segments.
        rows: int [B], the row that each sample goes into, from 0.

    Returns:
        The rows, as long as the fullest, and for each token its place in them, int [B, N], flat; padding has
        the one place after the last.

    Raises:
        ValueError: if the sequence is packed already, or `rows` is not for these samples.
    """
    if tokens.segments is not None:
        raise ValueError("packed sequences (segments) cannot be packed again.")
    if rows.shape != tokens.mask.shape[:1]:
        raise ValueError(f"rows has shape {tuple(rows.shape)} for {len(tokens.mask)} samples.")
    lengths = tokens.mask.sum(1)
    before = (rows[:, None] == rows).tril(-1)  # [B, B], which samples stand in the same row before this one
    starts = (before * lengths).sum(1)
    num_rows, width = torch.stack((rows.amax() + 1, (starts + lengths).amax())).tolist()  # asks the device
    first = (rows * width + starts)[:, None]
    places = torch.where(tokens.mask, first + tokens.mask.cumsum(1) - 1, num_rows * width)
    samples = torch.arange(len(rows), device=rows.device)[:, None].expand_as(places)
    shape = (num_rows, width)
    packed = replace(
        tokens,
        embeds=_scatter(tokens.embeds, places, shape),
        mask=_scatter(tokens.mask, places, shape),
        positions=_scatter(tokens.positions.expand(len(rows), -1, -1), places, shape),
        segments=_scatter(samples, places, shape),
        padded=True,
    )
    return packed, places


def move(values: Tensor, places: Tensor, like: TokenSequence) -> Tensor:
    """Whatever else is said of each token, [B, N], moved to where `pack` has put it, [R, M]."""
    return _scatter(values, places, tuple(like.mask.shape))


def unpack(embeds: Tensor, places: Tensor) -> Tensor:
    """[R, M, D] -> [B, N, D], zero where padding was."""
    flat = embeds.flatten(0, 1)
    return torch.cat((flat, flat.new_zeros(1, flat.shape[1])))[places]


def _scatter(values: Tensor, places: Tensor, shape: tuple[int, ...]) -> Tensor:
    """[B, N, ...] -> [R, M, ...], zero where nothing goes."""
    size = shape[0] * shape[1]
    flat = values.new_zeros(size + 1, *values.shape[2:])
    return flat.index_copy(0, places.flatten(), values.flatten(0, 1))[:-1].unflatten(0, shape)

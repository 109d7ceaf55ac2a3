"""Which tokens masked modelling hides: a pure function of a sample's seed and of where its tokens stand."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from unimodal.types import TokenSequence

WORD = 0xFFFFFFFF  # all arithmetic is of 32 bits, held in int64
Count = TypeVar("Count", int, Tensor)


class Masking:
    """Hides a share of each sample's real tokens, whatever the batch that it is in.

    Tokens that stand at the same place along some axes share their fate. Axes are those of
    `TokenSequence.positions`: 0 time, 1 row or frequency band, 2 column.

    | together    | hides                                 | source                     |
    | ----------- | ------------------------------------- | -------------------------- |
    | [[0, 1, 2]] | each token by itself                  | MAE, arXiv 2111.06377      |
    | [[1, 2]]    | tubes: the same places at all times   | VideoMAE, arXiv 2203.12602 |
    | [[0]]       | all that stands at a time             | AudioMAE, arXiv 2207.06405 |
    | [[1]]       | frequency bands                       | AudioMAE                   |
    | [[0], [1]]  | times and bands                       | AudioMAE                   |

    Args:
        together: groups of axes; a token is hidden with the first of its groups that is.
        ratio: share of the tokens that is hidden, in thousandths, rounded down; exactly so, for which the
            last place may be hidden in part.
        size: places side by side that count as one.
    """

    def __init__(self, together: Sequence[Sequence[int]], ratio: float, size: int = 1):
        self.per_mille = round(1000 * ratio)
        if not 0 < self.per_mille < 1000:
            raise ValueError(f"task.masking.ratio={ratio} is not between 0.001 and 0.999.")
        if size < 1:
            raise ValueError(f"task.masking.size={size} must be at least 1.")
        if not together or any(not axes or not set(axes) <= {0, 1, 2} for axes in together):
            raise ValueError(f"task.masking.together={together} must be groups of the axes 0, 1 and 2.")
        self.together, self.size = [list(axes) for axes in together], size

    def num_hidden(self, num: Count) -> Count:
        """Of so many tokens; never all."""
        return num * self.per_mille // 1000

    def __call__(self, mask: Tensor, positions: Tensor, seeds: Tensor) -> Tensor:
        """Which tokens are hidden, bool [B, N].

        Args:
            mask: real tokens, bool [B, N].
            positions: float [B or 1, N, 3].
            seeds: int [B]; the same seed hides the same places.
        """
        blocks = positions if self.size == 1 else (positions / self.size).floor()
        bits = blocks.float().contiguous().view(torch.int32).long()  # a number for each coordinate
        groups = [noise(seeds + group, bits[..., axes]) for group, axes in enumerate(self.together)]
        rank = _rank(torch.stack(groups).amax(0).masked_fill(~mask, -1))
        return mask & (rank < self.num_hidden(mask.sum(1, keepdim=True)))


def noise(seeds: Tensor, keys: Tensor) -> Tensor:
    """A number of 32 bits for each seed and key, on every device the same: [B], [B or 1, N, K] -> [B, N].

    The mixing is Wellons' low-bias integer hash (https://nullprogram.com/blog/2018/07/31/).
    """
    state = _mix(_mix(seeds >> 32) ^ seeds)[:, None]
    for key in keys.unbind(-1):
        state = _mix(state ^ key)
    return state


def places(chosen: Tensor, num: int) -> Tensor:
    """Where the chosen of each row stand, in their order: bool [B, N] -> int [B, num].

    A row with fewer is filled up with places that are not chosen.
    """
    return (~chosen).byte().argsort(dim=1, stable=True)[:, :num]


def take(values: Tensor, at: Tensor) -> Tensor:
    """The values at those places: [B or 1, N, D], [B, K] -> [B, K, D]."""
    return values.expand(len(at), -1, -1).gather(1, at[..., None].expand(-1, -1, values.shape[-1]))


def only(tokens: TokenSequence, chosen: Tensor, num: int) -> TokenSequence:
    """The chosen tokens of each row, bool [B, N], in their order, padded to `num` a row."""
    at = places(chosen, num)
    return replace(
        tokens,
        embeds=take(tokens.embeds, at),
        mask=chosen.gather(1, at),
        positions=take(tokens.positions, at),
    )


def _rank(scores: Tensor) -> Tensor:
    """0 for the highest of each row, 1 for the next, ..."""
    return scores.argsort(dim=1, descending=True, stable=True).argsort(1)


def _mix(x: Tensor) -> Tensor:
    x = x & WORD
    x = ((x ^ (x >> 16)) * 0x21F0AAAD) & WORD
    x = ((x ^ (x >> 15)) * 0x735A2D97) & WORD
    return x ^ (x >> 15)

"""Who may look at whom. Rows are queries, columns are keys, x marks a visible pair.

    bidirectional   causal      prefix of 2   segments AABB
        x x x x     x . . .     x x . .       x x . .
        x x x x     x x . .     x x . .       x x . .
        x x x x     x x x .     x x x .       . . x x
        x x x x     x x x x     x x x x       . . x x

Causal, bidirectional and prefix are a choice of the call on the same weights, never another class.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

Mask = Tensor | BlockMask | None
EVERYWHERE = -1  # the segment of register tokens: seen by every segment, seeing only each other


@dataclass(frozen=True)
class Visibility:
    """What decides the mask of one forward pass.

    Attributes:
        keys: bool [B, K], True = a real key, cached ones included.
        padded: False promises that `keys` is True throughout.
        causal: a token sees itself and what stands before it.
        prefix: bool [B, K] or None. Under `causal`, keys that every token sees.
        segments: int [B, K] or None.
        num_queries: the last so many of the K tokens ask.
    """

    keys: Tensor
    padded: bool
    causal: bool
    prefix: Tensor | None
    segments: Tensor | None
    num_queries: int


def attention_mask(see: Visibility, window: int | None = None) -> tuple[Mask, bool]:
    """The bool mask [B or 1, 1, Q or 1, K] for scaled_dot_product_attention, and its `is_causal` flag.

    Segments on a GPU have a `block_mask` instead, so that FlexAttention leaves out what no token sees.

    The mask is None where every key is visible or the flag says it all: those calls take the fast kernels.
    `window` limits sight to that many real tokens on either side. A token always sees itself, so that no row
    is empty (an empty row is NaN, and NaN would spread).
    """
    if see.segments is not None and see.keys.is_cuda:
        return block_mask(see, window), False
    num_keys = see.keys.shape[1]
    order = _order(see, num_keys, window)
    if order is None and see.segments is None:
        if not see.padded:
            return None, False
        anything = see.keys.any(1, keepdim=True)  # a row that is all padding sees its padding
        return (see.keys | ~anything)[:, None, None], False
    if see.causal and see.prefix is None and window is None and see.segments is None and not see.padded:
        if see.num_queries == num_keys:
            return None, True
        if see.num_queries == 1:
            return None, False
    visible = see.keys[:, None, :]
    if order is not None:
        visible = visible & order
    if see.segments is not None:
        query = see.segments[:, -see.num_queries :, None]
        visible = visible & ((query == see.segments[:, None]) | (see.segments[:, None] == EVERYWHERE))
    itself = torch.eye(num_keys, dtype=torch.bool, device=see.keys.device)[-see.num_queries :]
    return (visible | itself)[:, None], False


def block_mask(see: Visibility, window: int | None = None) -> BlockMask:
    """The same for FlexAttention (Dong et al. 2024, arXiv 2412.05496), of segments; no cached keys.

    Blocks of 128 queries and keys of which no pair is visible cost nothing. The tests compare it with
    `attention_mask` on the CPU, where FlexAttention is slow and has no backward pass; they do not run its GPU
    kernel.
    """
    assert see.segments is not None and see.num_queries == see.keys.shape[1]
    keys, segments, causal, prefix = see.keys, see.segments, see.causal, see.prefix

    def visible(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        seen = keys[b, k] & ((segments[b, q] == segments[b, k]) | (segments[b, k] == EVERYWHERE))
        if causal:
            seen = seen & (k <= q if prefix is None else (k <= q) | prefix[b, k])
        if window is not None:
            seen = seen & ((k - q).abs() <= window)
        return seen | (q == k)

    batch, num = keys.shape
    return create_block_mask(visible, batch, None, num, num, device=keys.device)  # None: alike for all heads


def _order(see: Visibility, num_keys: int, window: int | None) -> Tensor | None:
    """What the order of the tokens lets through: bool [B or 1, Q, K], None where it is everything."""
    if not see.causal and window is None:
        return None
    place = torch.arange(num_keys, device=see.keys.device)
    ahead = place[None, :] - place[-see.num_queries :, None]  # [Q, K], > 0 = the key stands after the query
    visible = torch.ones_like(ahead, dtype=torch.bool)[None]
    if see.causal:
        visible = (ahead <= 0)[None]
        if see.prefix is not None:
            visible = visible | see.prefix[:, None, :]
    if window is not None:
        gaps = see.padded and see.segments is None  # padding takes no room, but a segment has none within it
        real = see.keys.long().cumsum(1) if gaps else place[None]
        apart = real[:, None, :] - real[:, -see.num_queries :, None]
        visible = visible & (apart.abs() <= window)
    return visible

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


def attention_mask(see: Visibility, window: int | None = None) -> tuple[Tensor | None, bool]:
    """The bool mask [B or 1, 1, Q or 1, K] for scaled_dot_product_attention, and its `is_causal` flag.

    The mask is None where every key is visible or the flag says it all: those calls take the fast kernels.
    `window` limits sight to that many tokens on either side. A token always sees itself, so that no row is
    empty (an empty row is NaN, and NaN would spread).
    """
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
        visible = visible & (ahead.abs() <= window)
    return visible

"""Learned positions of one grid on another."""

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

MODES = {1: "linear", 2: "bicubic", 3: "trilinear"}


def resize_positions(table: Tensor, old: Sequence[int], new: Sequence[int]) -> Tensor:
    """Interpolate a table [product of old, D] to [product of new, D]; the same grid gives the same table.

    Raises:
        ValueError: if the grids have not the same axes, or the table is not of the old one.
    """
    if len(old) != len(new) or math.prod(old) != len(table):
        raise ValueError(f"positions of a grid {tuple(old)} do not fit a grid {tuple(new)}.")
    if tuple(old) == tuple(new):
        return table
    maps = table.float().T.reshape(1, -1, *old)  # [1, D, *grid]
    resized = F.interpolate(maps, size=tuple(new), mode=MODES[len(old)], align_corners=False)
    return resized.flatten(2)[0].T.to(table.dtype).contiguous()

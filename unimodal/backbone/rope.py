"""Rotary position embedding over three axes (Su et al. 2021, arXiv 2104.09864).

Frequencies are dealt to the axes (t, h, w) in turn, so that each axis has the whole range from fast to slow;
or, `planar`, height has the first half of the channels and width the second.
Where the three coordinates are equal, as for text, this is the usual 1-D RoPE exactly. A token at (0, 0, 0)
is not rotated. Nothing is stored: cosines are computed in `forward`, which also survives the meta device.
"""

import torch
from torch import Tensor

NUM_AXES = 3

Rotation = tuple[Tensor, Tensor]
"""Cosines and sines, each [B or 1, 1, N, head_dim / 2]."""


def rotation(
    positions: Tensor, head_dim: int, theta: float, dtype: torch.dtype, planar: bool = False
) -> Rotation:
    """Each token's rotation, from `positions` float [B or 1, N, 3]; computed in fp32, returned as `dtype`."""
    pairs = torch.arange(head_dim // 2, device=positions.device)
    half = head_dim // 4  # of the pairs
    axis = 1 + pairs // half if planar else pairs % NUM_AXES
    exponent = (pairs % half).float() / half if planar else pairs.float() * 2 / head_dim
    angle = positions.float()[..., axis] * (1.0 / theta**exponent)  # [B or 1, N, head_dim / 2]
    angle = angle.unsqueeze(1)  # one rotation for all heads
    return angle.cos().to(dtype), angle.sin().to(dtype)


def rotate(x: Tensor, by: Rotation) -> Tensor:
    """Rotate queries or keys [B, H, N, head_dim]; pairs are (i, i + head_dim / 2), as in Llama."""
    cos, sin = by
    first, second = x.chunk(2, -1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)

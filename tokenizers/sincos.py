"""Fixed positions: sines and cosines, added to embeddings (Vaswani et al. 2017, arXiv 1706.03762).

Nothing is stored: they are computed in fp64 in `forward`, which also survives the meta device.
"""

import torch
from torch import Tensor

BASE = 10_000.0


def sincos_1d(num: int, dim: int, device: torch.device) -> Tensor:
    """One vector a place, [num, dim]; even channels are sines, odd ones cosines, as in VideoMAE."""
    channel = torch.arange(dim, device=device)
    exponent = 2 * (channel // 2).double() / dim
    angle = torch.arange(num, device=device).double()[:, None] / BASE**exponent
    return torch.where(channel % 2 == 0, angle.sin(), angle.cos()).float()


def sincos_2d(rows: int, columns: int, dim: int, device: torch.device) -> Tensor:
    """One vector a place of a grid, row by row, [rows * columns, dim], as in AIMv2.

    Quarters of the channels: sine and cosine of the column, sine and cosine of the row.

    Raises:
        ValueError: if dim is not a multiple of 4.
    """
    if dim % 4:
        raise ValueError(f"sincos_positions of a grid need a multiple of 4 as backbone.dim, not {dim}.")
    frequency = 1 / BASE ** (torch.arange(dim // 4, device=device).double() / (dim // 4))
    y, x = torch.meshgrid(
        torch.arange(rows, device=device).double(),
        torch.arange(columns, device=device).double(),
        indexing="ij",
    )
    down, across = y.flatten().outer(frequency), x.flatten().outer(frequency)
    return torch.cat((across.sin(), across.cos(), down.sin(), down.cos()), 1).float()


def check_one_kind(learned_positions: bool, sincos_positions: bool) -> None:
    """Raise where both kinds of positions would be added."""
    if learned_positions and sincos_positions:
        raise ValueError("tokenizer.learned_positions and tokenizer.sincos_positions exclude each other.")

"""Pixels on the device: uint8 travels there and is normalised there."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unimodal.types import full_mask


class Normalise(nn.Module):
    """uint8 to zero mean and unit variance per channel; floats pass: they count as normalised already.

    Args:
        mean: per channel, of values scaled to 0..1.
        std: likewise.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]):
        super().__init__()
        # Persistent: on the meta device a non-persistent buffer would come back as garbage.
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """[..., C, H, W] uint8 or float -> float."""
        if pixels.dtype != torch.uint8:
            return pixels
        return (pixels.to(self.mean.dtype) / 255 - self.mean) / self.std


def cut(pixels: Tensor, *sizes: int) -> Tensor:
    """[B, C, axes ...] into patches of `sizes`, row by row: [B, N, C * product of sizes]."""
    num = len(sizes)
    for axis, size in enumerate(sizes, 2):
        pixels = pixels.unfold(axis, size, size)  # [B, C, grid ..., sizes ...] in the end
    return pixels.movedim(1, 1 + num).flatten(1 + num).flatten(1, num)


def blank(pixels: Tensor, sizes: tuple[int, ...], choose: Callable) -> tuple[Tensor, Tensor]:
    """Normalised pixels [B, C, axes ...] with 0, the mean, at the places of a grid that `choose` hides.

    Also returns which those are, bool [B, N]; `choose` as in `Tokenizer.hide`.
    """
    places = grid(*(1,) * (3 - len(sizes)), *sizes, device=pixels.device)
    hidden = choose(full_mask(places).expand(len(pixels), -1), places)
    visible = (~hidden).unflatten(1, (1, *sizes)).to(pixels.dtype)
    return pixels * F.interpolate(visible, pixels.shape[2:]), hidden  # the nearest


def check_size(key: str, have: tuple[int, ...], wanted: tuple[int, ...], knob: str) -> None:
    """Raise where a batch holds pixels of another size than the tokenizer was built for."""
    if tuple(have) != wanted:
        raise ValueError(f"{key} has size {tuple(have)}; {wanted} was wanted, which is {knob}.")


def grid(*sizes: int, device: torch.device) -> Tensor:
    """Row-major coordinates of a grid, float [1, product, number of axes]."""
    axes = [torch.arange(size, device=device, dtype=torch.float32) for size in sizes]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, -2)[None]

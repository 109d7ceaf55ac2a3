"""The Fourier transform of short windows as a matrix product, for graphs.

onnxruntime's own is a hundred times less exact where the window's length is no power of two, as Whisper's;
the product is as exact as torch's transform.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import pi
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class Fourier(nn.Module):
    """`torch.fft.rfft` over the last axis; keeps the matrix of each length from its first call on."""

    def forward(self, x: Tensor, n: int | None = None) -> Tensor:
        """Real [..., S] -> complex [..., n / 2 + 1]; zeros follow x up to n, which is S by default."""
        num_samples = x.shape[-1]
        length = n or num_samples
        name = f"product_{num_samples}_{length}"
        if name not in self._buffers:
            self.register_buffer(name, _product(num_samples, length))
        cosines, sines = self.get_buffer(name)
        return torch.complex(x @ cosines, x @ sines)

    @contextmanager
    def instead(self) -> Iterator[None]:
        """Within, `torch.fft.rfft` is this module."""
        with _Instead(self):
            yield


class _Instead(TorchFunctionMode):
    def __init__(self, fourier: Fourier):
        self.fourier = fourier

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if func is torch.fft.rfft and len(args) == 1 and given.keys() <= {"n"}:
            return self.fourier(args[0], **given)
        return func(*args, **given)


def _product(num_samples: int, length: int) -> Tensor:
    """Cosines and sines, float32 [2, S, length / 2 + 1]."""
    time, frequency = torch.arange(num_samples)[:, None], torch.arange(length // 2 + 1)
    angle = 2 * pi * (time * frequency % length).double() / length  # less than a turn: exact
    return torch.stack((angle.cos(), -angle.sin())).float()

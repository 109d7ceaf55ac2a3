"""All processes' rows, with their gradients."""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function


def world() -> tuple[int, int]:
    """This process's rank and how many there are; (0, 1) where nothing is distributed."""
    if not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def most(num: int, device: torch.device) -> int:
    """The largest of all processes' numbers."""
    if world()[1] == 1:
        return num
    largest = torch.tensor(num, device=device)
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return int(largest)


def gather(rows: Tensor, size: int, fill: float = 0) -> Tensor:
    """The rows [R, ...] of all processes, [world * size, ...], in the order of ranks.

    The gradient of a row is the sum of those that all processes have for it, so that the losses of all
    processes together have the gradient that a single process would compute.

    Args:
        rows: of this process; others may have more or fewer.
        size: what each process is filled up to, `most` of all.
        fill: the value of what is added.
    """
    if world()[1] == 1:
        return rows
    rest = [0, 0] * (rows.ndim - 1)
    return _Gather.apply(F.pad(rows, (*rest, 0, size - len(rows)), value=fill))


class _Gather(Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(world()[1])]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        rank, num = world()
        return total.chunk(num)[rank]

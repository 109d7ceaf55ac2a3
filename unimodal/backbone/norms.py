"""The two normalisations of the block."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unimodal.backbone.config import BlockConfig


class RMSNorm(nn.Module):
    """x / rms(x) * weight over the last axis (Zhang and Sennrich 2019, arXiv 1910.07467)."""

    def __init__(self, dim: int, eps: float):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(dim)), eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x [..., dim], in x's precision (the kernel sums in fp32)."""
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)


def make_norm(dim: int, config: BlockConfig) -> nn.Module:
    """The norm that the dialect asks for."""
    if config.norm == "rms":
        return RMSNorm(dim, config.eps)
    return nn.LayerNorm(dim, config.eps, bias=config.norm_bias)

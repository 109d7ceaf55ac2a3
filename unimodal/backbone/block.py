"""The one pre-norm block: communicate, then compute, each as a branch off the residual stream."""

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN

from unimodal.backbone.attention import Attention
from unimodal.backbone.cache import KVCache
from unimodal.backbone.config import BlockConfig
from unimodal.backbone.masks import Mask
from unimodal.backbone.norms import make_norm
from unimodal.backbone.rope import Rotation


class MLP(nn.Module):
    """The feed-forward: each token computes on its own."""

    def __init__(self, dim: int, hidden_dim: int, config: BlockConfig):
        super().__init__()
        self.gate = nn.Linear(dim, hidden_dim, bias=config.mlp_bias) if config.gated else None
        self.up = nn.Linear(dim, hidden_dim, bias=config.mlp_bias)
        self.act = ACT2FN[config.act]
        self.down = nn.Linear(hidden_dim, dim, bias=config.mlp_bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] -> [B, N, D]."""
        hidden = self.act(self.up(x)) if self.gate is None else self.act(self.gate(x)) * self.up(x)
        return self.down(hidden)


class Scale(nn.Module):
    """A learned factor per channel (LayerScale, Touvron et al. 2021, arXiv 2103.17239)."""

    def __init__(self, dim: int, initial: float):
        super().__init__()
        self.initial, self.weight = initial, nn.Parameter(torch.full((dim,), initial))

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D]."""
        return x * self.weight


class DropPath(nn.Module):
    """Stochastic depth: some samples skip a branch in training (Huang et al. 2016, arXiv 1603.09382).

    Each row of the batch has a draw of its own from torch's generator; samples packed in one row share it.
    """

    def __init__(self, ratio: float):
        super().__init__()
        self.ratio = ratio

    def forward(self, x: Tensor) -> Tensor:
        """[B, ...] -> [B, ...]; what is kept is scaled up, so that the mean stays."""
        if not self.training:
            return x
        kept = torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device) >= self.ratio
        return x * kept / (1 - self.ratio)


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)). Nothing else touches the stream x."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        num_kv_heads: int,
        head_dim: int,
        mlp_dim: int,
        config: BlockConfig,
        drop_path: float = 0.0,
    ):
        super().__init__()
        self.attention_norm = make_norm(dim, config)
        self.attention = Attention(dim, num_heads, num_kv_heads, head_dim, config)
        self.mlp_norm = make_norm(dim, config)
        self.mlp = MLP(dim, mlp_dim, config)
        initial = config.layer_scale
        self.attention_scale = nn.Identity() if initial is None else Scale(dim, initial)
        self.mlp_scale = nn.Identity() if initial is None else Scale(dim, initial)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(
        self,
        x: Tensor,
        rotation: Rotation | None = None,
        mask: Mask = None,
        is_causal: bool = False,
        cache: KVCache | None = None,
        layer_idx: int = 0,
    ) -> Tensor:
        """[B, N, D] -> [B, N, D]; see `Attention.forward` for the rest."""
        attended = self.attention(self.attention_norm(x), rotation, mask, is_causal, cache, layer_idx)
        x = x + self.drop_path(self.attention_scale(attended))
        return x + self.drop_path(self.mlp_scale(self.mlp(self.mlp_norm(x))))

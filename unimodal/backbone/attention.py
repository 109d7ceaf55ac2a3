"""Multi-head attention: tokens pass messages. Queries say what a token looks for, keys what it has."""

from functools import cache as cached
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from unimodal.backbone.cache import KVCache
from unimodal.backbone.config import BlockConfig
from unimodal.backbone.masks import Mask
from unimodal.backbone.norms import make_norm
from unimodal.backbone.rope import Rotation, rotate


class Attention(nn.Module):
    """Self-attention with grouped key-value heads (Ainslie et al. 2023, arXiv 2305.13245).

    `query`, `key` and `value` are separate linears, as in the stock classes that they export to.
    """

    def __init__(self, dim: int, num_heads: int, num_kv_heads: int, head_dim: int, config: BlockConfig):
        super().__init__()
        if num_heads % num_kv_heads:
            raise ValueError(f"num_heads={num_heads} is not a multiple of num_kv_heads={num_kv_heads}.")
        q_bias, k_bias, v_bias = config.qkv_biases
        self.head_dim = head_dim
        self.query = nn.Linear(dim, num_heads * head_dim, bias=q_bias)
        self.key = nn.Linear(dim, num_kv_heads * head_dim, bias=k_bias)
        self.value = nn.Linear(dim, num_kv_heads * head_dim, bias=v_bias)
        self.query_norm = make_norm(head_dim, config) if config.qk_norm else nn.Identity()
        self.key_norm = make_norm(head_dim, config) if config.qk_norm else nn.Identity()
        self.out = nn.Linear(num_heads * head_dim, dim, bias=config.out_bias)
        self.attend = attend  # exports put their own in its place

    def forward(
        self,
        x: Tensor,
        rotation: Rotation | None = None,
        mask: Mask = None,
        is_causal: bool = False,
        cache: KVCache | None = None,
        layer_idx: int = 0,
    ) -> Tensor:
        """Attend within x [B, N, D]; `mask` as `attention_mask` makes it."""
        q = self.query_norm(self._heads(self.query(x)))  # [B, H, N, head_dim]
        k = self.key_norm(self._heads(self.key(x)))
        v = self._heads(self.value(x))
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        if cache is not None:
            k, v = cache.append(layer_idx, k, v)
        return self.out(self.attend(q, k, v, mask, is_causal).transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)  # [B, H, N, head_dim]


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Mask, is_causal: bool) -> Tensor:
    """softmax(q k^T / sqrt(head_dim)) v over [B, H, N, head_dim].

    `mask` is bool, True = visible, or one of blocks, for FlexAttention (compiled where there is a GPU).
    """
    grouped = q.shape[1] != k.shape[1]
    if isinstance(mask, BlockMask):
        flex: Any = _compiled_flex() if q.is_cuda else flex_attention
        return flex(q.to(v.dtype), k.to(v.dtype), v, block_mask=mask, enable_gqa=grouped)  # as autocast would
    if q.device.type == "cpu" and v.dtype == torch.bfloat16:
        # The CPU kernel's backward is 3 to 9 times slower in bf16 than in fp32 up to some 500 tokens.
        with torch.autocast("cpu", enabled=False):
            q, k, v32 = q.float(), k.float(), v.float()
            y = F.scaled_dot_product_attention(q, k, v32, mask, is_causal=is_causal, enable_gqa=grouped)
        return y.to(v.dtype)
    return F.scaled_dot_product_attention(q, k, v, mask, is_causal=is_causal, enable_gqa=grouped)


@cached
def _compiled_flex() -> Any:
    return torch.compile(flex_attention)

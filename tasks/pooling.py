"""From a sequence of tokens to one vector."""

import torch
from torch import Tensor, nn

from unimodal.types import TokenSequence


class MeanPooling(nn.Module):
    """The mean of the real tokens."""

    def forward(self, tokens: TokenSequence) -> Tensor:
        """[B, N, D] -> [B, D]."""
        weight = tokens.mask.unsqueeze(-1).to(tokens.embeds.dtype)
        return (tokens.embeds * weight).sum(1) / weight.sum(1).clamp_min(1)


class FirstPooling(nn.Module):
    """The mean of the first tokens: 1 is CLS (ViT), 2 is CLS and distillation token (AST).

    Args:
        num_tokens: how many; the tokenizer needs as many prefix tokens.
    """

    def __init__(self, num_tokens: int = 1):
        super().__init__()
        self.num_tokens = num_tokens

    def forward(self, tokens: TokenSequence) -> Tensor:
        """[B, N, D] -> [B, D]."""
        return tokens.embeds[:, : self.num_tokens].mean(1)


class LastPooling(nn.Module):
    """The last real token, which under causal attention has seen all others."""

    def forward(self, tokens: TokenSequence) -> Tensor:
        """[B, N, D] -> [B, D]."""
        place = torch.arange(tokens.mask.shape[1], device=tokens.mask.device)
        last = (place * tokens.mask).amax(1)
        return tokens.embeds[torch.arange(len(last), device=last.device), last]


class AttentionPooling(nn.Module):
    """One learned query attends over the real tokens (Lee et al. 2018, Set Transformer, arXiv 1810.00825).

    Args:
        dim: width.
        num_heads: attention heads.
    """

    def __init__(self, dim: int, num_heads: int = 4):
        super().__init__()
        self.query = nn.Parameter(0.02 * torch.randn(1, 1, dim))
        self.attention = nn.MultiheadAttention(dim, num_heads, batch_first=True)

    def forward(self, tokens: TokenSequence) -> Tensor:
        """[B, N, D] -> [B, D]."""
        query = self.query.expand(len(tokens.embeds), -1, -1)
        hidden = None if not tokens.padded else ~tokens.mask  # torch's mask here: True = hidden
        pooled, _ = self.attention(
            query, tokens.embeds, tokens.embeds, key_padding_mask=hidden, need_weights=False
        )
        return pooled[:, 0]

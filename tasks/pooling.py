"""Modules that pool a sequence of tokens into one vector, or into `num_vectors` of them."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from unimodal.types import TokenSequence


class MeanPooling(nn.Module):
    """The mean of the real tokens."""

    def forward(self, tokens: TokenSequence) -> Tensor:
        """[B, N, D] -> [B, D]."""
        weight = tokens.mask.unsqueeze(-1).to(tokens.embeds.dtype)
        return (tokens.embeds * weight).sum(1) / weight.sum(1).clamp_min(1)


class MeanMaxPooling(nn.Module):
    """The mean of the real tokens, concatenated with the maximum of each channel."""

    num_vectors = 2

    def forward(self, tokens: TokenSequence) -> Tensor:
        """[B, N, D] -> [B, 2 * D]."""
        real = tokens.mask.unsqueeze(-1)
        greatest = tokens.embeds.where(real, -torch.inf).amax(1)
        greatest = greatest.where(tokens.mask.any(1, keepdim=True), 0)
        return torch.cat((MeanPooling()(tokens), greatest), -1)


class AdaptivePooling(nn.Module):
    """The means of the real tokens in each cell of a coarse grid, side by side; 0 where a cell has no token.

    The linear layer behind it has weights of its own for each cell, as behind `torch.nn.AdaptiveAvgPool3d`,
    so the model can tell from the first step on where something is. The mean of all tokens does not tell, and
    a transformer whose blocks start as the identity learns it late. The grid spans the positions of the real
    tokens of a sample, so sounds of any length have the same cells.

    Args:
        output_size: cells along time, height and width. Tokens of text and sound have one position for all
            three, of which [8, 1, 1] divides the first.
    """

    def __init__(self, output_size: Sequence[int]):
        super().__init__()
        if len(output_size) != 3 or min(output_size) < 1:
            raise ValueError(
                f"output_size={list(output_size)} is not three numbers of at least 1; set "
                "task.pooling.output_size=[TIME,HEIGHT,WIDTH]."
            )
        self.output_size, self.num_vectors = tuple(output_size), prod(output_size)

    def forward(self, tokens: TokenSequence) -> Tensor:
        """[B, N, D] -> [B, num_vectors * D], cell by cell: time slowest, width fastest."""
        weight = tokens.mask.unsqueeze(-1).to(tokens.embeds.dtype)
        within = self._cells(tokens) * weight  # [B, N, num_vectors]
        sums = within.transpose(1, 2) @ (tokens.embeds * weight)
        return (sums / within.sum(1).clamp_min(1).unsqueeze(-1)).flatten(1)

    def _cells(self, tokens: TokenSequence) -> Tensor:
        """1 where a token is in a cell, else 0: [B, N, num_vectors]."""
        real, positions = tokens.mask.unsqueeze(-1), tokens.positions
        first = positions.where(real, torch.inf).amin(1, keepdim=True)  # [B, 1, 3]
        last = positions.where(real, -torch.inf).amax(1, keepdim=True)
        sizes = positions.new_tensor(self.output_size)
        places = (positions - first).where(real, 0) * sizes / (last - first).clamp_min(1e-6)
        places = places.floor().minimum(sizes - 1).long()
        _, rows, columns = self.output_size
        index = (places[..., 0] * rows + places[..., 1]) * columns + places[..., 2]
        return nn.functional.one_hot(index, self.num_vectors).to(tokens.embeds.dtype)


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

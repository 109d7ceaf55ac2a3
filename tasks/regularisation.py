"""Regularisation between tokenizer and head, the same for every modality, in training only.

| option          | in training                                           | source, arXiv              |
| --------------- | ----------------------------------------------------- | -------------------------- |
| `mixup`         | tokens and labels are blended with another sample's   | 1710.09412; of embeddings  |
|                 |                                                       | 1806.05236, 1905.08941     |
| `cutmix`        | a block of tokens comes from another sample           | 1905.04899                 |
| `token_dropout` | some tokens are left out, which also saves their time | PatchDropout, 2208.07220   |
| `head_dropout`  | some channels of the pooled vector are zero           | 1207.0580                  |

Every draw is a pure function of the sample's `seed`, and so of (seed, epoch, index). The other sample of a
mixture is the one before it in the batch: which one this is depends on the batch size and on the number of
processes.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from unimodal.tasks.masking import Masking, noise, only
from unimodal.types import TokenSequence

NUM_SHARES = 2**16  # draws of a Beta distribution, of which each sample takes one
KIND, SHARE, CENTRE, TOKENS, CHANNELS = range(1, 6)  # what a random number is for


class Regularisation(nn.Module):
    """Changes tokens before the backbone, and the pooled vector before the head.

    Args:
        mixup: alpha of Beta(alpha, alpha), from which the share of the other sample is drawn; 0: no mixup.
            Usual is 0.2 to 1. What the other sample has beyond the end of this one is left out, so that
            lengths stay as they were planned (`loader.pack`, `loader.max_tokens`).
        cutmix: likewise for the share of the tokens that are the other sample's. Where both are more than 0,
            half of the samples are mixed in either way.
        token_dropout: share of the tokens that are left out, rounded down. Prefix tokens, the first token and
            the last one stay.
        head_dropout: probability of each channel to be zero.
        num_prefix_tokens: of each tokenizer; prefix tokens such as CLS always stay.

    Raises:
        ValueError: if a value is out of range, or one of several tokenizers has prefix tokens, which then
            stand in the middle of the sequence.
    """

    mixup_shares: Tensor
    cutmix_shares: Tensor

    def __init__(
        self,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        token_dropout: float = 0.0,
        head_dropout: float = 0.0,
        num_prefix_tokens: Sequence[int] = (0,),
    ):
        super().__init__()
        for name, alpha in {"mixup": mixup, "cutmix": cutmix}.items():
            if not 0 <= alpha < math.inf:
                raise ValueError(
                    f"task.{name}={alpha} is not a parameter of a Beta distribution; set it to 0 (off) or "
                    "more, such as 0.2."
                )
        for name, ratio in {"token_dropout": token_dropout, "head_dropout": head_dropout}.items():
            if not (ratio == 0 or 0.001 <= ratio <= 0.999):
                raise ValueError(
                    f"task.{name}={ratio} is not a share; set it to 0 (off) or to 0.001 up to 0.999."
                )
        if len(num_prefix_tokens) > 1 and any(num_prefix_tokens) and (cutmix or token_dropout):
            raise ValueError(
                "task.cutmix and task.token_dropout cannot spare prefix tokens in the middle of a sequence; "
                "set num_prefix_tokens=0 for each of the tokenizers, or both options to 0."
            )
        self.mixup, self.cutmix, self.head_dropout = mixup, cutmix, head_dropout
        self.num_first = num_prefix_tokens[0] if len(num_prefix_tokens) == 1 else 0
        self.masking = Masking([[0, 1, 2]], token_dropout) if token_dropout else None
        self.mixes = bool(mixup or cutmix)
        self.needs_order = bool(self.mixes or (token_dropout and self.num_first))  # of parts: a fixed one
        self.active = bool(self.mixes or token_dropout or head_dropout)
        for name, alpha in {"mixup_shares": mixup, "cutmix_shares": cutmix}.items():
            self.register_buffer(name, _shares(alpha), persistent=False)

    def tokens(self, tokens: TokenSequence, seeds: Tensor) -> tuple[TokenSequence, Tensor | None]:
        """Mix and thin out the tokens of a batch.

        Args:
            tokens: before the backbone.
            seeds: int64 [B].

        Returns:
            The tokens, and the share that each sample has in its own mixture, float [B]; the rest is that of
            `partners`. None where nothing is mixed.

        Raises:
            ValueError: if several samples are packed in one sequence.
        """
        if not self.mixes and self.masking is None:
            return tokens, None
        if tokens.segments is not None:
            raise ValueError(
                "task.mixup, task.cutmix and task.token_dropout cannot read packed sequences (segments); "
                "set all three to 0."
            )
        share = None
        if self.mixes:
            tokens, share = self._mixed(tokens, seeds)
        return (tokens if self.masking is None else self._thinned(tokens, seeds)), share

    def vectors(self, vectors: Tensor, seeds: Tensor) -> Tensor:
        """Pooled vectors [B, D], some channels of each zero and the others scaled up."""
        if not self.head_dropout:
            return vectors
        channels = torch.arange(vectors.shape[1], device=vectors.device)[None, :, None]
        kept = noise(_stream(seeds, CHANNELS), channels) >= self.head_dropout * 2**32
        return vectors * kept / (1 - self.head_dropout)

    def _mixed(self, tokens: TokenSequence, seeds: Tensor) -> tuple[TokenSequence, Tensor]:
        other, shared = partners(tokens.embeds), tokens.mask & partners(tokens.mask)
        kind, drawn = _uniform(seeds, KIND), _uniform(seeds, SHARE)
        cut = kind < (0.5 if self.mixup and self.cutmix else float(bool(self.cutmix)))  # bool [B]
        both = shared.clone()
        both[:, : self.num_first] = False
        block = self._block(both, tokens.positions, seeds, _pick(self.cutmix_shares, drawn))
        blend = _pick(self.mixup_shares, drawn)
        weight = torch.where(cut[:, None], block.float(), blend[:, None]) * shared  # of the other, [B, N]
        rest = torch.where(cut[:, None], (~block).float(), 1 - blend[:, None]) * tokens.mask
        embeds = tokens.embeds * rest[..., None] + other * weight[..., None]
        own = (tokens.mask.sum(1) - self.num_first).clamp_min(1)
        share = torch.where(cut, 1 - block.sum(1) / own, 1 - blend)
        return tokens.with_embeds(embeds.to(tokens.embeds.dtype)), share

    def _block(self, both: Tensor, positions: Tensor, seeds: Tensor, share: Tensor) -> Tensor:
        """The tokens around a random one, bool [B, N]: a square of patches, a stretch of text or sound."""
        index = torch.arange(both.shape[1], device=both.device)[None, :, None]
        centre = noise(_stream(seeds, CENTRE), index).masked_fill(~both, -1).argmax(1)
        positions = positions.expand(len(both), -1, -1)
        middle = positions.gather(1, centre[:, None, None].expand(-1, 1, positions.shape[2]))
        distance = (positions - middle).abs().amax(-1).masked_fill(~both, torch.inf)
        rank = distance.argsort(dim=1, stable=True).argsort(1)
        return both & (rank < (share * both.sum(1)).floor()[:, None])

    def _thinned(self, tokens: TokenSequence, seeds: Tensor) -> TokenSequence:
        assert self.masking is not None
        first, num = max(self.num_first, 1), tokens.mask.shape[1]
        places = torch.arange(num, device=tokens.mask.device)
        last = (places * tokens.mask).amax(1, keepdim=True)
        droppable = tokens.mask & (places >= first) & (places != last)
        hidden = self.masking(droppable, tokens.positions, _stream(seeds, TOKENS))
        most = num - self.masking.num_hidden(max(num - first - 1, 0))  # that any row keeps
        return only(tokens, tokens.mask & ~hidden, most)


def partners(values: Tensor) -> Tensor:
    """What the other sample of each mixture has, [B, ...]: the sample before it in the batch."""
    return values.roll(1, 0)


def _shares(alpha: float) -> Tensor:
    """Draws of the smaller share of a mixture by Beta(alpha, alpha): the other sample's, at most 1/2."""
    if not alpha:
        return torch.zeros(1)
    drawn = np.random.RandomState(0).beta(alpha, alpha, NUM_SHARES)  # the same draws in any version
    return torch.from_numpy(np.minimum(drawn, 1 - drawn)).float()


def _pick(shares: Tensor, drawn: Tensor) -> Tensor:
    return shares[(drawn * len(shares)).long()].float()


def _stream(seeds: Tensor, purpose: int) -> Tensor:
    return seeds ^ (purpose << 48)


def _uniform(seeds: Tensor, purpose: int) -> Tensor:
    """From 0 to below 1, a multiple of 2 ** -24 that float32 has: [B]."""
    one = torch.zeros(1, 1, 1, dtype=torch.int64, device=seeds.device)
    return (noise(_stream(seeds, purpose), one)[:, 0] >> 8) / 2**24

"""Reconstruct what is hidden of an image, a sound or a clip: masked autoencoding."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from unimodal.backbone.transformer import Transformer
from unimodal.data.examples import Examples
from unimodal.data.seeded import Seeded
from unimodal.model import Unimodal
from unimodal.tasks.base import Output, Task
from unimodal.tasks.masking import Masking, only, places, take
from unimodal.types import Batch, TokenSequence


class MaskedModeling(Task):
    """The backbone reads the visible tokens only, a light decoder says what the others stand for.

    He et al. 2021 (MAE, arXiv 2111.06377); Tong et al. 2022 (VideoMAE, 2203.12602); Huang et al. 2022
    (AudioMAE, 2207.06405). Needs no labels. The loss is the mean squared error of what is hidden. In
    validation each sample's mask is always the same, so that epochs, and runs of one seed, compare.

    Args:
        model: needs one tokenizer, whose tokens stand for something of their own.
        masking: which tokens are hidden. Prefix tokens never are.
        decoder_dim: width of the decoder, by default half the backbone's; its heads are as wide as there.
        decoder_depth: number of its blocks, which are the backbone's but always rotate.
        norm_targets: give each token's targets zero mean and unit variance, so that contrast does not count.
        head_norm: a LayerNorm before the linear layer, beside the decoder's own norm.
        head_norm_eps: epsilon of that norm.
    """

    def __init__(
        self,
        model: Unimodal,
        masking: Masking,
        decoder_dim: int | None = None,
        decoder_depth: int = 2,
        norm_targets: bool = True,
        head_norm: bool = False,
        head_norm_eps: float = 1e-5,
    ):
        super().__init__(model)
        if len(model.tokenizers) != 1:
            raise ValueError(f"masked modeling reads one modality, not {', '.join(model.tokenizers)}.")
        target_size = self._tokenizer.target_size
        self.masking, self.norm_targets = masking, norm_targets
        dim, head_dim = decoder_dim or model.backbone.dim // 2, model.backbone.head_dim
        config = model.backbone.config
        rotating = replace(config, rope_theta=config.rope_theta or 10_000.0)
        self.decoder = Transformer(dim, decoder_depth, max(dim // head_dim, 1), rotating, head_dim=head_dim)
        self.enter = nn.Linear(model.backbone.dim, dim)
        self.mask_token = nn.Parameter(0.02 * torch.randn(dim))
        self.head_norm = nn.LayerNorm(dim, head_norm_eps) if head_norm else nn.Identity()
        self.head = nn.Linear(dim, target_size)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    @property
    def _tokenizer(self) -> Any:
        [tokenizer] = self.model.tokenizers.values()
        return tokenizer

    @property
    def backbones(self) -> list[Transformer]:
        """The model's and the decoder."""
        return [self.model.backbone, self.decoder]

    @staticmethod
    def examples(
        samples: Any,
        preprocess: Mapping[str, Any],
        training: bool,
        augment: Callable | None = None,
        seed: int = 0,
    ) -> Dataset:
        """Tensors of each sample, with a seed for its mask."""
        return Seeded(Examples(samples, preprocess, augment, seed), training, seed)

    def forward(self, batch: Batch) -> Output:
        """`seed` int [B] and `counted` bool [B] beside the inputs; logits [B, hidden, target_size]."""
        tokens, hidden = self._tokenizer.hide(batch, partial(self.masking, seeds=batch["seed"]))
        num_all, num_own = tokens.embeds.shape[1], hidden.shape[1]
        num_hidden = self.masking.num_hidden(num_own)  # of the longest row; in others some are not hidden
        seen = tokens.mask & ~F.pad(hidden, (num_all - num_own, 0))  # the prefix comes first
        rows = batch.get("rows")
        encoded = self.model.backbone(only(tokens, seen, num_all - num_hidden), rows=rows)
        decoded = self.decoder(self._filled_up(tokens, seen, encoded), rows=rows).embeds[:, -num_own:]
        at = places(hidden, num_hidden)
        logits = self.head(self.head_norm(take(decoded, at))).float()
        losses = F.mse_loss(logits, take(self._targets(batch), at), reduction="none").mean(-1)
        scored = hidden.gather(1, at) & batch["counted"][:, None]
        count = scored.sum()
        return Output((losses * scored).sum() / count.clamp_min(1), count, logits, encoded)

    def _targets(self, batch: Batch) -> Tensor:
        targets = self._tokenizer.targets(batch).float()
        if not self.norm_targets:
            return targets
        variance, mean = torch.var_mean(targets, -1, keepdim=True, correction=0)
        return (targets - mean) / (variance + 1e-6).sqrt()

    def _filled_up(self, tokens: TokenSequence, seen: Tensor, encoded: TokenSequence) -> TokenSequence:
        """The whole sequence for the decoder: what was seen at its place, the mask token everywhere else."""
        entered = self.enter(encoded.embeds)
        back = take(entered, (seen.cumsum(1) - 1).clamp_min(0))
        return tokens.with_embeds(torch.where(seen[..., None], back, self.mask_token.to(back.dtype)))

"""Losses that tell the partner of a query from all other candidates by cosine similarity."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MAX_SCALE = 100.0


class Contrast(nn.Module):
    """A learned scale (inverse temperature) of the similarities; a subclass writes `forward`.

    Args:
        scale: at first; training keeps it at or below 100, as CLIP does.
    """

    def __init__(self, scale: float):
        super().__init__()
        if not 0 < scale <= MAX_SCALE:
            raise ValueError(f"task.contrast.scale={scale} is not between 0 and {MAX_SCALE:g}.")
        self.log_scale = nn.Parameter(torch.tensor([math.log(scale)]))  # [1]: FSDP shards no scalars

    def limit(self) -> None:
        """Bring a scale that a step has moved too far back; to be called before a step's first loss."""
        with torch.no_grad():
            self.log_scale.clamp_(max=math.log(MAX_SCALE))

    @property
    def scale(self) -> Tensor:
        """float32 [1], at most 100 even where `limit` does not reach a sharded parameter.

        Past the limit the gradient is that at the limit, so that the parameter can come back.
        """
        log_scale = self.log_scale.float()
        excess = (log_scale - math.log(MAX_SCALE)).clamp_min(0).detach()
        return (log_scale - excess).exp()

    def logits(self, queries: Tensor, candidates: Tensor) -> Tensor:
        """Scaled similarities [R, N] of unit vectors [R, P] and [N, P], in float32 also under autocast."""
        with torch.autocast(queries.device.type, enabled=False):
            return self.scale * (queries.float() @ candidates.float().T)

    def forward(self, queries: Tensor, candidates: Tensor, partners: Tensor, negatives: Tensor) -> Tensor:
        """The loss of each query, [R].

        Args:
            queries: unit vectors [R, P].
            candidates: unit vectors [N, P].
            partners: which candidate belongs to each query, int [R].
            negatives: which do not, bool [R, N]. What is neither plays no part: duplicates, padding.
        """
        raise NotImplementedError


class InfoNCE(Contrast):
    """Cross-entropy of the partner among all candidates (CLIP, Radford et al. 2021, arXiv 2103.00020)."""

    def __init__(self, scale: float = 1 / 0.07):
        super().__init__(scale)

    def forward(self, queries: Tensor, candidates: Tensor, partners: Tensor, negatives: Tensor) -> Tensor:
        """See `Contrast.forward`."""
        taking_part = negatives.scatter(1, partners[:, None], True)
        logits = self.logits(queries, candidates).masked_fill(~taking_part, -torch.inf)
        return F.cross_entropy(logits, partners, reduction="none")


class SigLIP(Contrast):
    """Each pair by itself, yes or no (Zhai et al. 2023, arXiv 2303.15343): small batches do well too.

    Args:
        scale: at first.
        bias: added to the scaled similarities, at first: negatives are many, so a pair is rather none.
    """

    def __init__(self, scale: float = 10.0, bias: float = -10.0):
        super().__init__(scale)
        self.bias = nn.Parameter(torch.tensor([bias]))

    def forward(self, queries: Tensor, candidates: Tensor, partners: Tensor, negatives: Tensor) -> Tensor:
        """See `Contrast.forward`."""
        logits = self.logits(queries, candidates) + self.bias.float()
        partner = logits.gather(1, partners[:, None])[:, 0]
        return F.softplus(-partner) + (F.softplus(logits) * negatives).sum(1)


def pair_losses(
    contrast: Contrast, pairs: Tensor, items: Tensor, all_pairs: Tensor, all_items: Tensor, places: Tensor
) -> Tensor:
    """The loss of each pair, [R], the mean of both directions, among all pairs.

    Args:
        contrast: the loss of one direction.
        pairs: unit vectors [R, 2, P].
        items: which thing each is, int [R, 2]; pairs that share one are not each other's negatives.
        all_pairs: [N, 2, P], those pairs among them.
        all_items: [N, 2]; below 0 where a pair does not count.
        places: of the pairs among all, int [R].
    """
    different = (items[:, None] != all_items).all(-1)
    negatives = different & (all_items[:, 0] >= 0)
    there = contrast(pairs[:, 0], all_pairs[:, 1], places, negatives)
    back = contrast(pairs[:, 1], all_pairs[:, 0], places, negatives)
    return (there + back) / 2

"""How well one of two finds the other among everything in the validation part."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

RANKS = (1, 5, 10)
CHUNK = 1024  # queries at a time: scores [CHUNK, N]


class Pairs(Metric):
    """Collects pairs over batches and processes; `compute` gives vectors [N, 2, P] and items int [N, 2]."""

    full_state_update = False
    vectors: list[Tensor]
    items: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("vectors", [], dist_reduce_fx="cat")
        self.add_state("items", [], dist_reduce_fx="cat")

    def update(self, vectors: Tensor, items: Tensor) -> None:
        """Those of a batch that count: unit vectors [B, 2, P], and which thing each is, int [B, 2]."""
        self.vectors.append(vectors)
        self.items.append(items)

    def compute(self) -> tuple[Tensor, Tensor]:
        """All, in no certain order."""
        return dim_zero_cat(self.vectors), dim_zero_cat(self.items)


def retrieval(vectors: Tensor, items: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """Recall and median rank of both directions, by name, such as `image_to_text_r10`.

    Candidates are the different things of the other kind, each once. A query has found what it looks for
    when any thing that stands in a pair with it is among the best; its rank is that of the best of them, and
    whatever scores the same but is wrong ranks before it. A score that is NaN is the lowest. `_chance` is the
    recall of a random order. `mean_recall` is the mean over both directions and R@1, 5 and 10.

    Args:
        vectors: unit vectors [N, 2, P].
        items: which thing each is, int [N, 2].
        names: of the two kinds.
    """
    figures: dict[str, Tensor] = {}
    for one, other in ((0, 1), (1, 0)):
        ranks, num_right, num_candidates = _ranks(vectors, items, one, other)
        name = f"{names[one]}_to_{names[other]}"
        figures |= {f"{name}_r{k}": (ranks <= k).float().mean() for k in RANKS}
        figures[f"{name}_median_rank"] = ranks.float().quantile(0.5)
        figures[f"{name}_r{RANKS[-1]}_chance"] = _chance(num_right, num_candidates, RANKS[-1])
    recalls = [value for name, value in figures.items() if name.endswith(tuple(f"_r{k}" for k in RANKS))]
    return figures | {"mean_recall": torch.stack(recalls).mean()}


def retrieval_modes(names: Sequence[str]) -> dict[str, str]:
    """Return `min` or `max` of each metric of `retrieval`: which of two values is better."""
    modes = {"mean_recall": "max"}
    for one, other in ((0, 1), (1, 0)):
        name = f"{names[one]}_to_{names[other]}"
        modes |= {f"{name}_median_rank": "min"} | {f"{name}_r{k}": "max" for k in RANKS}
    return modes


def _ranks(vectors: Tensor, items: Tensor, one: int, other: int) -> tuple[Tensor, Tensor, int]:
    """Of each query its rank and how many candidates are right, int [Q]; the number of candidates."""
    queries, query_of = _distinct(vectors[:, one], items[:, one])
    candidates, candidate_of = _distinct(vectors[:, other], items[:, other])
    ranks, num_right = [], []
    for start in range(0, len(queries), CHUNK):
        scores = queries[start : start + CHUNK] @ candidates.T
        scores = scores.masked_fill(scores.isnan(), -torch.inf)  # found by nothing, finds nothing
        right = torch.zeros_like(scores, dtype=torch.bool)
        here = (query_of >= start) & (query_of < start + CHUNK)
        right[query_of[here] - start, candidate_of[here]] = True
        best = scores.masked_fill(~right, -torch.inf).amax(1, keepdim=True)
        ranks.append(1 + ((scores >= best) & ~right).sum(1))
        num_right.append(right.sum(1))
    return torch.cat(ranks), torch.cat(num_right), len(candidates)


def _distinct(vectors: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    """The vector of each different item, [Q, P], and which of them each row is, int [N]."""
    values, which = items.unique(return_inverse=True)
    first = torch.full_like(values, len(items))
    first = first.scatter_reduce(0, which, torch.arange(len(items), device=items.device), "amin")
    return vectors[first], which


def _chance(num_right: Tensor, num_candidates: int, k: int) -> Tensor:
    """The expected share of queries with a right candidate among k drawn without looking."""
    missed: Any = torch.ones_like(num_right, dtype=torch.float64)
    for drawn in range(min(k, num_candidates)):
        missed = missed * ((num_candidates - num_right - drawn) / (num_candidates - drawn)).clamp_min(0)
    return (1 - missed).mean().float()

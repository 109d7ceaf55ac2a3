"""Batches of as many tokens instead of as many examples: a pure function of (seed, epoch), sharded by rank.

How many examples each batch has follows from the lengths alone; which, is drawn anew each epoch. So every
epoch has as many batches, and a run resumes exactly.

    padded: sorted by length, cut where longest * count would pass the budget    1 1 1 1 | 2 2 | 4
    packed: the k-th longest of all in each batch, so that all sums are alike    4 1 | 2 1 | 2 1 1
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import Sampler

from unimodal.data.sampling import Draw, stable_seed

GRAIN = 16  # lengths are rounded up to a 16th to a 32nd of themselves, and drawn among equals


class TokenBudgetSampler(Sampler[list[Draw]]):
    """Shuffled training batches of draws; `epoch` and `skip` as in `ResumableBatchSampler`.

    All ranks give the same number of batches. Where it does not come out even, some batches are left out,
    others in each epoch.

    Args:
        lengths: tokens of each example.
        max_tokens: of a batch and rank: its examples times its longest, or packed their sum.
        packed: batches mix all lengths; else each has similar ones.
        seed: of the order.
        rank: of this process.
        world_size: number of processes.

    Raises:
        ValueError: if an example does not fit into a batch, or there are fewer batches than processes.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        max_tokens: int,
        packed: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ):
        if max(lengths) > max_tokens:
            raise ValueError(
                f"loader.max_tokens={max_tokens} is less than the longest training example, of "
                f"{max(lengths)} tokens; raise it, or have the tokenizer cut more."
            )
        rounded = torch.tensor(lengths) if packed else _rounded(torch.tensor(lengths)).clamp_max(max_tokens)
        self.lengths, self.packed, self.seed = rounded, packed, seed
        self.rank, self.world_size = rank, world_size
        descending = rounded.sort(descending=True).values
        self.sizes = [] if packed else _cut(descending.tolist(), max_tokens)
        self.num_batches = _fewest_even(descending, max_tokens) if packed else len(self.sizes)
        if len(self) < 1:
            raise ValueError(
                f"loader.max_tokens={max_tokens} makes {self.num_batches} batches of the {len(lengths)} "
                f"training examples, fewer than the {world_size} processes; lower it."
            )
        self.step_size = 0  # examples of a step differ in number
        self.epoch, self.skip = 0, 0

    def __len__(self) -> int:
        """Batches a pass and rank, whatever `skip` is."""
        return self.num_batches // self.world_size

    def __iter__(self) -> Iterator[list[Draw]]:
        generator = torch.Generator().manual_seed(stable_seed(self.seed, self.epoch))
        batches = self._dealt(generator) if self.packed else self._similar(generator)
        order = torch.randperm(len(batches), generator=generator).tolist()
        for step in range(self.skip, len(self)):
            chosen = batches[order[step * self.world_size + self.rank]]
            yield [Draw(self.epoch, index) for index in chosen.tolist()]

    def _similar(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Longest first, those of the same rounded length in any order, cut at the same places each epoch."""
        shuffled = torch.randperm(len(self.lengths), generator=generator)
        order = shuffled[self.lengths[shuffled].argsort(descending=True, stable=True)]
        return order.split(self.sizes)

    def _dealt(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Each run of as many as there are batches, longest first, is dealt at random: one to each batch."""
        order = self.lengths.argsort(descending=True, stable=True)
        runs = [run[torch.randperm(len(run), generator=generator)] for run in order.split(self.num_batches)]
        return tuple(torch.stack([run[k] for run in runs if k < len(run)]) for k in range(self.num_batches))


def _rounded(lengths: Tensor) -> Tensor:
    """Up to a multiple of a power of two that is at most a 16th of it."""
    grain = 2 ** (lengths.float() / GRAIN).log2().floor().clamp_min(0).long()
    return (lengths + grain - 1) // grain * grain


def _cut(descending: list[int], max_tokens: int) -> list[int]:
    """Sizes of batches, each of which starts with its longest example."""
    sizes: list[int] = []
    start = 0
    while start < len(descending):
        sizes.append(min(max_tokens // descending[start], len(descending) - start))
        start += sizes[-1]
    return sizes


def _fewest_even(descending: Tensor, max_tokens: int) -> int:
    """The fewest batches for which no deal passes the budget: each may get the longest of every run."""
    num = -(-int(descending.sum()) // max_tokens)
    while int(descending[::num].sum()) > max_tokens:
        num += 1
    return num

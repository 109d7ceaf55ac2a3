"""Which example comes when: a pure function of (seed, epoch), sharded by rank.

draw        = (epoch, index, counted, repeat): what a dataset needs to make the example, augmentation included
whole state = (epoch, batches handed out): exact resume from any step, with any number of workers
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch.utils.data import Sampler


class Draw(NamedTuple):
    """One request to a dataset.

    `counted` is False for an example that only fills up a rank's last batch; `repeat` says how often the same
    example was drawn before in this pass.
    """

    epoch: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which no one calls on a draw
    counted: bool = True
    repeat: int = 0


class ResumableBatchSampler(Sampler[list[Draw]]):
    """Batches of draws. `epoch` and `skip` (batches of it to leave out) are set before each pass.

    All ranks give the same number of batches of the same sizes: a rank that runs out early would leave the
    others waiting. What is repeated for that is not counted.

    Args:
        num_examples: size of the dataset.
        batch_size: examples a batch and rank.
        seed: of the order.
        shuffle: else the order is 0, 1, 2, ...
        drop_last: leave out what does not fill a batch on every rank (training).
        rank: of this process.
        world_size: number of processes.
        weights: of each example. A pass then draws as many as there are, with replacement, each in proportion
            to its weight, instead of shuffling.
        starts: where a block of examples that are read together begins: blocks are shuffled, and examples
            within each. None: all are one block.
    """

    def __init__(
        self,
        num_examples: int,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
        weights: Sequence[float] | None = None,
        starts: Sequence[int] | None = None,
    ):
        if drop_last and num_examples < batch_size * world_size:
            raise ValueError(
                f"the training part has {num_examples} examples, fewer than one batch on each process "
                f"({batch_size} x {world_size}); lower loader.batch_size, such as to "
                f"{max(num_examples // (4 * world_size), 1)}."
            )
        if weights is not None and len(weights) != num_examples:
            raise ValueError(f"there are {len(weights)} weights for {num_examples} examples.")
        self.num_examples, self.batch_size, self.seed = num_examples, batch_size, seed
        self.shuffle, self.drop_last, self.rank, self.world_size = shuffle, drop_last, rank, world_size
        self.cumulative = None if weights is None else torch.tensor(weights, dtype=torch.float64).cumsum(0)
        self.starts = starts
        self.step_size = batch_size * world_size  # examples of a step, in all processes together
        self.epoch, self.skip = 0, 0

    def __len__(self) -> int:
        """Batches a pass and rank, whatever `skip` is."""
        whole = self.batch_size * self.world_size
        if self.drop_last:
            return self.num_examples // whole
        return -(-self.num_examples // whole)

    def __iter__(self) -> Iterator[list[Draw]]:
        order = self._order()
        for batch in range(self.skip, len(self)):
            start = batch * self.batch_size * self.world_size
            draws = order[start : start + self.batch_size * self.world_size]
            missing = -len(draws) % self.world_size
            draws += [Draw(self.epoch, draw.index, counted=False) for draw in (order * missing)[:missing]]
            yield draws[self.rank :: self.world_size]

    def _order(self) -> list[Draw]:
        if self.cumulative is None:
            return [Draw(self.epoch, index) for index in self._indices()]
        seen: Counter[int] = Counter()
        draws = []
        for index in self._indices():
            draws.append(Draw(self.epoch, index, repeat=seen[index]))
            seen[index] += 1
        return draws

    def _indices(self) -> list[int]:
        generator = torch.Generator().manual_seed(stable_seed(self.seed, self.epoch))
        if self.cumulative is not None:  # torch.multinomial ends at 2^24 examples
            place = torch.rand(self.num_examples, generator=generator, dtype=torch.float64)
            drawn = torch.searchsorted(self.cumulative, place * self.cumulative[-1], right=True)
            return drawn.clamp_max(self.num_examples - 1).tolist()  # should rounding reach the end
        if self.shuffle and self.starts:
            blocks = list(pairwise([*self.starts, self.num_examples]))
            chosen = [blocks[i] for i in torch.randperm(len(blocks), generator=generator).tolist()]
            parts = [begin + torch.randperm(end - begin, generator=generator) for begin, end in chosen]
            return torch.cat(parts).tolist()
        if self.shuffle:
            return torch.randperm(self.num_examples, generator=generator).tolist()
        return list(range(self.num_examples))


def stable_seed(*key: int) -> int:
    """A 63-bit seed from a few integers, the same on every machine."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1

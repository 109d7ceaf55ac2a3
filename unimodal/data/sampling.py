"""Which example comes when: a pure function of (seed, epoch), sharded by rank.

draw        = (epoch, index, counted): what a dataset needs to make the example, augmentation included
whole state = (epoch, batches handed out): exact resume from any step, with any number of workers
"""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch.utils.data import Sampler


class Draw(NamedTuple):
    """One request to a dataset. `counted` is False for an example that only fills up a rank's last batch."""

    epoch: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which no one calls on a draw
    counted: bool = True


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
    ):
        if drop_last and num_examples < batch_size * world_size:
            raise ValueError(
                f"the training part has {num_examples} examples, fewer than one batch on each process "
                f"({batch_size} x {world_size}); lower loader.batch_size."
            )
        self.num_examples, self.batch_size, self.seed = num_examples, batch_size, seed
        self.shuffle, self.drop_last, self.rank, self.world_size = shuffle, drop_last, rank, world_size
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
        if not self.shuffle:
            return [Draw(self.epoch, i) for i in range(self.num_examples)]
        generator = torch.Generator().manual_seed(stable_seed(self.seed, self.epoch))
        return [Draw(self.epoch, i) for i in torch.randperm(self.num_examples, generator=generator).tolist()]


def stable_seed(*key: int) -> int:
    """A 63-bit seed from a few integers, the same on every machine."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1

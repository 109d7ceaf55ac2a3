"""A DataLoader that Lightning can save and restore exactly, in the middle of an epoch."""

from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import DataLoader, Dataset

from unimodal.data.collate import collate
from unimodal.data.sampling import ResumableBatchSampler
from unimodal.data.token_budget import TokenBudgetSampler
from unimodal.types import Batch


class ResumableDataLoader(DataLoader):
    """Its whole state is two integers: the epoch, and how many of its batches were handed out.

    Nothing is kept by worker or rank: the sampler's order is a pure function of (seed, epoch), so a restored
    loader leaves out what was handed out already. Lightning calls `iter` more than once without using it and
    never exhausts a sized loader; a pass therefore counts as begun with its first batch.

    Args:
        dataset: takes draws.
        sampler: of batches.
        num_workers: processes that prepare batches; 0 does it in the main one.
        pin_memory: for a faster copy to a GPU.
        limit: Lightning's `limit_train_batches`, a number or a share: a pass is over after so many batches.
        repeat: every pass is the first one again, as `overfit_batches` wants it.
        collate_fn: from examples to a batch.
    """

    def __init__(
        self,
        dataset: Dataset,
        sampler: ResumableBatchSampler | TokenBudgetSampler,
        num_workers: int = 0,
        pin_memory: bool = False,
        limit: int | float = 1.0,
        repeat: bool = False,
        collate_fn: Callable[[list[dict[str, Any]]], Batch] = collate,
    ):
        super().__init__(
            dataset,
            batch_sampler=sampler,
            num_workers=num_workers,
            pin_memory=pin_memory,
            collate_fn=collate_fn,
            persistent_workers=num_workers > 0,
        )
        self._order, self._repeat = sampler, repeat
        self._pass_len = int(limit * len(sampler)) if isinstance(limit, float) else min(limit, len(sampler))
        self._epoch, self._start, self._handed_out, self._begun = 0, 0, 0, False

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch names a private class
        if self._begun:
            self._epoch, self._start = self._epoch + 1, 0
        self._begun, self._handed_out = False, self._start
        self._order.epoch, self._order.skip = 0 if self._repeat else self._epoch, self._start
        return self._count(super().__iter__())

    def _count(self, batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            self._begun, self._handed_out = True, self._handed_out + 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Where the next batch comes from."""
        if self._handed_out >= self._pass_len:
            return {"epoch": self._epoch + 1, "batches": 0}
        return {"epoch": self._epoch, "batches": self._handed_out}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from there."""
        self._epoch, self._start, self._begun = state["epoch"], state["batches"], False

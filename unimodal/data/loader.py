"""A DataLoader that Lightning can save and restore exactly, in the middle of an epoch."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import Any, cast

from torch.utils.data import DataLoader, Dataset

from unimodal.data.collate import collate
from unimodal.data.cuts import noting_cuts
from unimodal.data.sampling import Draw, ResumableBatchSampler
from unimodal.data.token_budget import TokenBudgetSampler
from unimodal.types import Batch


def batches_done(state: Mapping[str, Any], size: int, length: int) -> int:
    """How many batches of an epoch count as handed out where a run goes on with other batches than before.

    The samples that were handed out, in whole new batches: at most one new batch of them comes again, none is
    left out. Where batches have no fixed number of samples it is the same share of the epoch, rounded down.

    Args:
        state: of the loader that was saved.
        size: samples of a step, in all processes together; 0 where that differs from step to step.
        length: batches of an epoch.
    """
    batches: int = state["batches"]
    old_size, old_length = state.get("size", size), state.get("length", length)
    if (old_size, old_length) == (size, length):
        return batches
    same_unit = old_size and size
    done = batches * old_size // size if same_unit else batches * length // max(old_length, 1)
    return min(done, length - 1)  # an unfinished epoch stays unfinished


class Noting(Dataset):
    """Examples, and of each whether it counts and the fields of which its input is cut.

    Args:
        dataset: takes draws.
    """

    def __init__(self, dataset: Dataset):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(cast(Sized, self.dataset))

    def __getitem__(self, draw: Draw) -> tuple[dict[str, Any], bool, set[str]]:
        with noting_cuts() as cut:
            return self.dataset[draw], draw.counted, cut


@dataclass(frozen=True)
class _CollateNoted:
    """From what `Noting` gives to a batch, how many of its examples count, and the fields cut in them."""

    collate: Callable[[list[dict[str, Any]]], Batch]

    def __call__(self, noted: list[tuple[dict[str, Any], bool, set[str]]]) -> tuple[Batch, int, list[str]]:
        examples, counted, cuts = zip(*noted, strict=True)
        cut = [field for counts, fields in zip(counted, cuts, strict=True) if counts for field in fields]
        return self.collate(list(examples)), sum(counted), cut


class ResumableDataLoader(DataLoader):
    """Its whole state is two integers: the epoch, and how many of its batches were handed out.

    Two more, the samples of a step and the batches of an epoch, tell a run that goes on with other batches
    how far that is.

    Nothing is kept by worker or rank: the sampler's order is a pure function of (seed, epoch), so a restored
    loader leaves out what was handed out already. Lightning calls `iter` more than once without using it and
    never exhausts a sized loader; a pass therefore counts as begun with its first batch.

    Of the first pass it counts the examples, and those with an input that is cut (`num_cut`).

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
            Noting(dataset),
            batch_sampler=sampler,
            num_workers=num_workers,
            pin_memory=pin_memory,
            collate_fn=_CollateNoted(collate_fn),
            persistent_workers=num_workers > 0,
        )
        self._order, self._repeat = sampler, repeat
        self._pass_len = int(limit * len(sampler)) if isinstance(limit, float) else min(limit, len(sampler))
        self._epoch, self._start, self._handed_out, self._begun = 0, 0, 0, False
        self.num_examples, self.num_cut = 0, Counter[str]()  # of the first pass; cut ones by field

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch names a private class
        if self._begun:
            self._epoch, self._start = self._epoch + 1, 0
        self._begun, self._handed_out = False, self._start
        self._order.epoch, self._order.skip = 0 if self._repeat else self._epoch, self._start
        return self._count(super().__iter__())

    def _count(self, batches: Iterator[tuple[Batch, int, list[str]]]) -> Iterator[Batch]:
        first = not self.num_examples
        for batch, num_examples, cut in batches:
            self._begun, self._handed_out = True, self._handed_out + 1
            if first:
                self.num_examples += num_examples
                self.num_cut.update(cut)
            yield batch

    @property
    def units(self) -> dict[str, int]:
        """Samples of a step in all processes together (0: not always as many), and batches of an epoch."""
        return {"size": self._order.step_size, "length": self._pass_len}

    def state_dict(self) -> dict[str, int]:
        """Where the next batch comes from."""
        if self._handed_out >= self._pass_len:
            return {"epoch": self._epoch + 1, "batches": 0} | self.units
        return {"epoch": self._epoch, "batches": self._handed_out} | self.units

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from there, or with other batches from as near as `batches_done` says."""
        self._epoch, self._start, self._begun = state["epoch"], batches_done(state, **self.units), False

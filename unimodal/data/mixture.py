"""Batches of several sources in one stream: which source comes when is a pure function of (seed, epoch).

whole state = (epoch, steps handed out), as for a single source: what each source has given follows from it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from unimodal.data.loader import ResumableDataLoader, batches_done
from unimodal.data.sampling import stable_seed
from unimodal.types import Batch

Step = tuple[str, ...]  # the sources of one optimizer step


def batch_counts(
    batches: Mapping[str, int], weights: Mapping[str, float], temperature: float = 1.0
) -> dict[str, int]:
    """How many batches of each source an epoch holds.

    At temperature 1 that is `weight` passes over each source. Above 1 the same number of batches in all is
    dealt out more evenly: in proportion to weight * batches ** (1 / temperature), as multilingual models
    sample languages (Arivazhagan et al. 2019, arXiv 1907.05019).

    Args:
        batches: of one pass, by source.
        weights: by source; 0 leaves it out.
        temperature: 1 or more; infinity draws sources of the same weight equally often.

    Raises:
        ValueError: for a negative weight, a temperature below 1, or if nothing is drawn.
    """
    wrong = next((name for name, weight in weights.items() if not weight >= 0), None)
    if wrong:
        raise ValueError(f"mix.{wrong}.weight={weights[wrong]} must be 0 or more.")
    if not temperature >= 1:
        raise ValueError(f"temperature={temperature} must be 1 or more.")
    share = {name: weights[name] * batches[name] ** (1 / temperature) for name in batches}
    total = sum(weights[name] * batches[name] for name in batches)
    if not total:
        raise ValueError("no source is drawn: every mix.SOURCE.weight is 0.")
    scale = total / sum(share.values())
    return {name: max(round(one * scale), 1) for name, one in share.items() if one > 0}


class MixtureOrder:
    """The sources of each step of an epoch.

    Each source is spread evenly over the epoch: its k-th batch of n falls at random into the k-th n-th.

    Args:
        counts: batches of each source in an epoch.
        several: a step takes a batch of several sources where their turns meet, so that an epoch has as many
            steps as the most frequent source has batches; else one source a step.
        seed: of the order.
    """

    def __init__(self, counts: Mapping[str, int], several: bool = False, seed: int = 0):
        self.counts, self.several, self.seed = dict(counts), several, seed

    def __len__(self) -> int:
        """Steps of an epoch."""
        return max(self.counts.values()) if self.several else sum(self.counts.values())

    def steps(self, epoch: int) -> list[Step]:
        """Of one epoch, the same in every process."""
        generator = torch.Generator().manual_seed(stable_seed(self.seed, epoch))
        if not self.several:
            turns = []
            for name, count in self.counts.items():
                jitter = torch.rand(count, generator=generator, dtype=torch.float64)
                turns += [((k + shift) / count, name) for k, shift in enumerate(jitter.tolist())]
            return [(name,) for _, name in sorted(turns)]
        steps: list[list[str]] = [[] for _ in range(len(self))]
        for name, count in self.counts.items():  # one shift a source: at most one of its batches a step
            shift = float(torch.rand(1, generator=generator, dtype=torch.float64))
            for k in range(count):
                steps[int((k + shift) * len(self) / count)].append(name)
        return [tuple(step) for step in steps]


class MixtureLoader:
    """Steps as {source: batch}. Each source goes on where it stopped, from one of its passes to the next.

    Args:
        loaders: of each source.
        order: of their turns.
        limit: Lightning's `limit_train_batches`, a number or a share of the epoch.
        repeat: every epoch is the first one again, as `overfit_batches` wants it.
    """

    def __init__(
        self,
        loaders: Mapping[str, ResumableDataLoader],
        order: MixtureOrder,
        limit: int | float = 1.0,
        repeat: bool = False,
    ):
        self.loaders, self.order, self.repeat = dict(loaders), order, repeat
        self.num_steps = int(limit * len(order)) if isinstance(limit, float) else min(limit, len(order))
        self._streams: dict[str, Iterator[Batch]] = {}
        self._epoch, self._start, self._handed_out, self._begun = 0, 0, 0, False

    def __len__(self) -> int:
        """Steps of an epoch, whatever the limit is."""
        return len(self.order)

    def __iter__(self) -> Iterator[dict[str, Batch]]:
        if self._begun:
            self._epoch, self._start = self._epoch + 1, 0
        self._begun, self._handed_out = False, self._start
        if self.repeat:
            self._streams = {}
        return self._hand_out(self._steps(self._epoch)[self._start :])

    def _hand_out(self, steps: list[Step]) -> Iterator[dict[str, Batch]]:
        for step in steps:
            if not self._streams:
                self._streams = {name: self._stream(name, done) for name, done in self._done().items()}
            batches = {name: next(self._streams[name]) for name in step}
            self._begun, self._handed_out = True, self._handed_out + 1
            yield batches

    def _stream(self, name: str, done: int) -> Iterator[Batch]:
        """The batches of a source after the first `done`, pass after pass."""
        loader = self.loaders[name]
        loader.load_state_dict({"epoch": done // len(loader), "batches": done % len(loader)})
        while True:
            yield from loader

    def _done(self) -> Counter[str]:
        """How many batches of each source come before the next step of the run."""
        counted = Counter(dict.fromkeys(self.loaders, 0))
        for epoch in range(0 if self.repeat else self._epoch):
            counted.update(name for step in self._steps(epoch) for name in step)
        counted.update(name for step in self._steps(self._epoch)[: self._start] for name in step)
        return counted

    def _steps(self, epoch: int) -> list[Step]:
        return self.order.steps(0 if self.repeat else epoch)[: self.num_steps]

    @property
    def units(self) -> dict[str, int]:
        """As a single source's: a step has no fixed number of samples, an epoch has so many steps."""
        return {"size": 0, "length": self.num_steps}

    def state_dict(self) -> dict[str, int]:
        """Where the next step comes from."""
        if self._handed_out >= self.num_steps:
            return {"epoch": self._epoch + 1, "batches": 0} | self.units
        return {"epoch": self._epoch, "batches": self._handed_out} | self.units

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there; where batches have changed, from the same share of the epoch."""
        self._epoch, self._start, self._begun = state["epoch"], batches_done(state, **self.units), False
        self._streams = {}


class NamedLoader:
    """One source's batches in the form of a mixture's.

    Args:
        name: of the source.
        loader: its batches.
    """

    def __init__(self, name: str, loader: ResumableDataLoader):
        self.name, self.loader = name, loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[dict[str, Batch]]:
        for batch in self.loader:
            yield {self.name: batch}

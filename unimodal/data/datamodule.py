"""Lightning's view of a source: loaders of ready batches, for any task and tokenizer."""

import logging
import time
from collections.abc import Callable, Mapping, Sized
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import lightning as L
from torch.utils.data import Dataset

from unimodal.data.batching import PLAIN, Batching
from unimodal.data.collate import collate
from unimodal.data.decoded_cache import FIELDS, DecodedCache, open_cache
from unimodal.data.lengths import measure
from unimodal.data.loader import ResumableDataLoader
from unimodal.data.prepared import PreparedSamples
from unimodal.data.sampling import Draw, ResumableBatchSampler
from unimodal.data.sources.base import Source
from unimodal.data.sources.rows import RowSamples
from unimodal.data.targets import balanced_weights
from unimodal.data.token_budget import TokenBudgetSampler
from unimodal.types import Batch

log = logging.getLogger(__name__)

NUM_FIRST = 4  # training examples of a batch that only shows what is used
MAX_FIRST = 1000  # that are looked at for a modality that only some samples have


class DataModule(L.LightningDataModule):
    """Ties a source to the examples that a task makes of it.

    Args:
        source: where samples come from.
        examples: the task's `examples`: samples, preprocess, training, augment and seed to a dataset.
        preprocess: of each tokenizer, by field; plain values, so that workers carry no weights.
        augment: changes training samples at random, or None.
        batch_size: training examples a step and process.
        eval_batch_size: by default the same.
        num_workers: processes that prepare batches; 0 does it in the main one.
        pin_memory: for a faster copy to a GPU.
        balanced: draw training samples with replacement, each class equally often.
        seed: of order and augmentation.
        eval_split: which split validation reads.
        batching: of examples of different lengths.
    """

    def __init__(
        self,
        source: Source,
        examples: Callable[..., Dataset],
        preprocess: Mapping[str, Any],
        augment: Callable | None = None,
        batch_size: int = 64,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        pin_memory: bool = False,
        balanced: bool = False,
        seed: int = 0,
        eval_split: str = "val",
        batching: Batching = PLAIN,
    ):
        super().__init__()
        _check_budget(batching, balanced, source)
        self.source, self.examples, self.preprocess, self.augment = source, examples, preprocess, augment
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size or batch_size
        self.num_workers, self.pin_memory = num_workers, pin_memory
        self.balanced, self.seed, self.eval_split, self.batching = balanced, seed, eval_split, batching
        self.datasets: dict[tuple[str, bool], Dataset] = {}
        self.opened: dict[Path, int] = {}  # caches, and how large each may become
        self.takes_parts = False  # set by training, as the task does
        self.in_mixture = False  # the trainer's limits are then those of the mixture
        self.train_loader: ResumableDataLoader | None = None
        self.eval_loader: ResumableDataLoader | None = None  # the last that was asked for
        self.restored: dict[str, Any] | None = None

    def dataset(self, split: str, training: bool) -> Dataset:
        """The examples of a split, made once."""
        key = split, training
        if key not in self.datasets:
            self.datasets[key] = self._examples(split, training, self.augment if training else None)
        return self.datasets[key]

    def samples(self, split: str, training: bool) -> PreparedSamples:
        """A split decoded and fitted; with `training` what stands in for a bad sample counts."""
        raw = self.source.split(split)
        return PreparedSamples(
            raw,
            self.preprocess,
            self.source.on_bad_sample,
            training,
            self._caches(raw),
            self.source.max_skipped,
            self.source.allow_missing,
            self.takes_parts,
        )

    def _examples(self, split: str, training: bool, augment: Callable | None) -> Dataset:
        samples = self.samples(split, training)
        return self.examples(samples, self.preprocess, training=training, augment=augment, seed=self.seed)

    def _caches(self, samples: Any) -> dict[str, DecodedCache]:
        if not isinstance(samples, RowSamples) or not self.source.cache_gib or self.source.block:
            return {}
        media = [field for field in self.preprocess if field in FIELDS and field in samples.samples.media]
        opened = {
            field: open_cache(
                field, self.preprocess[field], samples.versions(), self.source.cache_gib, self.opened
            )
            for field in media
        }
        return {field: cache for field, cache in opened.items() if cache is not None}

    def _block_starts(self) -> list[int] | None:
        samples = self.source.split("train") if self.source.block else None
        return samples.block_starts() if isinstance(samples, RowSamples) else None

    @cached_property
    def fingerprint(self) -> str:
        """Of the data, read once."""
        return self.source.fingerprint()

    @cached_property
    def lengths(self) -> list[int]:
        """The tokens of each training example, without augmentation; every process measures all."""
        plain = self.dataset("train", True) if self.augment is None else self._examples("train", True, None)
        start = time.monotonic()
        lengths = measure(plain, self.preprocess, self.num_workers)
        if self._place()[0] == 0:
            log.info(
                f"measured {len(lengths):,} training examples in {time.monotonic() - start:.1f} s for "
                f"loader.max_tokens: {min(lengths)} to {max(lengths)} tokens, {sum(lengths):,} in all"
            )
        return lengths

    @cached_property
    def weights(self) -> list[float] | None:
        """How often each training example is drawn; None where all are once.

        Raises:
            ValueError: if the data has no classes, or the task's examples are no samples.
        """
        if not self.balanced:
            return None
        weights, num_examples = balanced_weights(self.source), len(cast(Sized, self.dataset("train", True)))
        if len(weights) != num_examples:
            raise ValueError(
                f"loader.balanced=true needs a task with one example a sample; this one makes {num_examples} "
                f"examples of {len(weights)} samples."
            )
        return weights

    def first_batches(self) -> list[Batch]:
        """A small one of training examples from all over; of samples in parts with all their modalities."""
        dataset, first, met = self.dataset("train", True), list[Any](), set[int]()
        num = len(cast(Sized, dataset))
        for index in range(0, num, max(num // MAX_FIRST, 1)):
            example: Any = dataset[Draw(0, index)]
            kinds = {which for which, _ in example.get("parts", ())}
            if len(first) < NUM_FIRST or not kinds <= met:
                first.append(example)
            met |= kinds
            if len(first) >= NUM_FIRST and (not kinds or len(met) == len(self.preprocess)):
                break
        return [collate(first)]

    def train_dataloader(self) -> ResumableDataLoader:
        """Whole batches, shuffled each epoch (not under `overfit_batches`); goes on where a run stopped."""
        self.train_loader = self._loader("train", True, self.batch_size)
        if self.restored is not None:
            self.train_loader.load_state_dict(self.restored)
        return self.train_loader

    def val_dataloader(self) -> ResumableDataLoader:
        """Everything once, in order."""
        self.eval_loader = self._loader(self.eval_split, False, self.eval_batch_size)
        return self.eval_loader

    def state_dict(self) -> dict[str, Any]:
        """Where training stands. Lightning restores a loader's own state in the middle of an epoch only."""
        return self.train_loader.state_dict() | {"data": self.fingerprint} if self.train_loader else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """For the loader that will be asked for.

        Raises:
            ValueError: if the data has changed since.
        """
        if state:
            self.check_unchanged(state.get("data", ""))
        self.restored = state or None

    def check_unchanged(self, fingerprint: str, prefix: str = "") -> None:
        """Raise where the data is not what it was, unless that is allowed; `prefix` is that of its keys."""
        if fingerprint != self.fingerprint and not self.source.allow_changed:
            raise ValueError(
                f"the data{f' of {prefix}data' * bool(prefix)} is not what it was when this run was saved; "
                f"start a new one with another output=DIR, or go on with {prefix}data.allow_changed=true."
            )

    def _loader(self, split: str, training: bool, batch_size: int) -> ResumableDataLoader:
        dataset = self.dataset(split, training)
        trainer: Any = self.trainer  # Lightning's connectors set some of its attributes
        budget = self.batching.max_tokens if training else None
        sampler = self._budget(budget) if budget else self._order(dataset, training, batch_size)
        limited = trainer and training and not self.in_mixture
        options: dict[str, Any] = {"collate_fn": self.batching.collate(self.preprocess)}
        if limited:
            options |= {"limit": trainer.limit_train_batches, "repeat": trainer.overfit_batches > 0}
        return ResumableDataLoader(dataset, sampler, self.num_workers, self.pin_memory, **options)

    def _order(self, dataset: Dataset, training: bool, batch_size: int) -> ResumableBatchSampler:
        weights = self.weights if training else None
        starts = self._block_starts() if training else None
        order = (self.seed, training, training, *self._place(), weights, starts)
        return ResumableBatchSampler(len(cast(Sized, dataset)), batch_size, *order)

    def _budget(self, max_tokens: int) -> TokenBudgetSampler:
        return TokenBudgetSampler(self.lengths, max_tokens, self.batching.pack, self.seed, *self._place())

    def _place(self) -> tuple[int, int]:
        """Rank and number of processes."""
        trainer: Any = self.trainer
        return (trainer.global_rank, trainer.world_size) if trainer else (0, 1)


def _check_budget(batching: Batching, balanced: bool, source: Source) -> None:
    if batching.max_tokens and balanced:
        raise ValueError(
            "loader.balanced=true draws examples with replacement, loader.max_tokens each of them once, in "
            "batches planned before; choose one."
        )
    if batching.max_tokens and source.block:
        raise ValueError(
            "loader.max_tokens needs the length of every example, which data.streaming=true does not know; "
            "take loader.batch_size."
        )

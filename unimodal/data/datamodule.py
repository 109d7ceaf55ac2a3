"""Lightning's view of a source: loaders of ready batches, for any task and tokenizer."""

from collections.abc import Callable, Mapping, Sized
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import lightning as L
from torch.utils.data import Dataset

from unimodal.data.decoded_cache import FIELDS, DecodedCache, open_cache
from unimodal.data.loader import ResumableDataLoader
from unimodal.data.prepared import PreparedSamples
from unimodal.data.sampling import ResumableBatchSampler
from unimodal.data.sources.base import Source
from unimodal.data.sources.rows import RowSamples
from unimodal.data.targets import balanced_weights


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
    ):
        super().__init__()
        self.source, self.examples, self.preprocess, self.augment = source, examples, preprocess, augment
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size or batch_size
        self.num_workers, self.pin_memory = num_workers, pin_memory
        self.balanced, self.seed, self.eval_split = balanced, seed, eval_split
        self.datasets: dict[tuple[str, bool], Dataset] = {}
        self.opened: dict[Path, int] = {}  # caches, and how large each may become
        self.train_loader: ResumableDataLoader | None = None
        self.restored: dict[str, Any] | None = None

    def dataset(self, split: str, training: bool) -> Dataset:
        """The examples of a split, made once."""
        key = split, training
        if key not in self.datasets:
            augment = self.augment if training else None
            raw = self.source.split(split)
            samples = PreparedSamples(
                raw,
                self.preprocess,
                self.source.on_bad_sample,
                training,
                self._caches(raw),
                self.source.max_skipped,
            )
            self.datasets[key] = self.examples(
                samples, self.preprocess, training=training, augment=augment, seed=self.seed
            )
        return self.datasets[key]

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

    def train_dataloader(self) -> ResumableDataLoader:
        """Whole batches, shuffled each epoch (not under `overfit_batches`); goes on where a run stopped."""
        self.train_loader = self._loader("train", True, self.batch_size)
        if self.restored is not None:
            self.train_loader.load_state_dict(self.restored)
        return self.train_loader

    def val_dataloader(self) -> ResumableDataLoader:
        """Everything once, in order."""
        return self._loader(self.eval_split, False, self.eval_batch_size)

    def state_dict(self) -> dict[str, Any]:
        """Where training stands. Lightning restores a loader's own state in the middle of an epoch only."""
        return self.train_loader.state_dict() | {"data": self.fingerprint} if self.train_loader else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """For the loader that will be asked for.

        Raises:
            ValueError: if the data has changed since.
        """
        if state.get("data", "") != self.fingerprint and state and not self.source.allow_changed:
            raise ValueError(
                "the data is not what it was when this run was saved; start a new one with another "
                "output=DIR, or go on with data.allow_changed=true."
            )
        self.restored = state or None

    def _loader(self, split: str, training: bool, batch_size: int) -> ResumableDataLoader:
        dataset = self.dataset(split, training)
        trainer: Any = self.trainer  # Lightning's connectors set some of its attributes
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        weights = self.weights if training else None
        starts = self._block_starts() if training else None
        sampler = ResumableBatchSampler(
            len(cast(Sized, dataset)),
            batch_size,
            self.seed,
            training,
            training,
            rank,
            world_size,
            weights,
            starts,
        )
        limits = (trainer.limit_train_batches, trainer.overfit_batches > 0) if trainer and training else ()
        return ResumableDataLoader(dataset, sampler, self.num_workers, self.pin_memory, *limits)

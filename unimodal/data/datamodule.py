"""Lightning's view of a source: loaders of ready batches, for any task and tokenizer."""

from collections.abc import Callable, Mapping, Sized
from typing import Any, cast

import lightning as L
from torch.utils.data import Dataset

from unimodal.data.loader import ResumableDataLoader
from unimodal.data.prepared import PreparedSamples
from unimodal.data.sampling import ResumableBatchSampler
from unimodal.data.sources.base import Source


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
        seed: int = 0,
        eval_split: str = "val",
    ):
        super().__init__()
        self.source, self.examples, self.preprocess, self.augment = source, examples, preprocess, augment
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size or batch_size
        self.num_workers, self.pin_memory = num_workers, pin_memory
        self.seed, self.eval_split = seed, eval_split
        self.datasets: dict[tuple[str, bool], Dataset] = {}
        self.train_loader: ResumableDataLoader | None = None
        self.restored: dict[str, int] | None = None

    def dataset(self, split: str, training: bool) -> Dataset:
        """The examples of a split, made once."""
        key = split, training
        if key not in self.datasets:
            augment = self.augment if training else None
            samples = PreparedSamples(
                self.source.split(split), self.preprocess, self.source.on_bad_sample, training
            )
            self.datasets[key] = self.examples(
                samples, self.preprocess, training=training, augment=augment, seed=self.seed
            )
        return self.datasets[key]

    def train_dataloader(self) -> ResumableDataLoader:
        """Whole batches, shuffled each epoch (not under `overfit_batches`); goes on where a run stopped."""
        self.train_loader = self._loader("train", True, self.batch_size)
        if self.restored is not None:
            self.train_loader.load_state_dict(self.restored)
        return self.train_loader

    def val_dataloader(self) -> ResumableDataLoader:
        """Everything once, in order."""
        return self._loader(self.eval_split, False, self.eval_batch_size)

    def state_dict(self) -> dict[str, int]:
        """Where training stands. Lightning restores a loader's own state in the middle of an epoch only."""
        return self.train_loader.state_dict() if self.train_loader else {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """For the loader that will be asked for."""
        self.restored = state or None

    def _loader(self, split: str, training: bool, batch_size: int) -> ResumableDataLoader:
        dataset = self.dataset(split, training)
        trainer: Any = self.trainer  # Lightning's connectors set some of its attributes
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        sampler = ResumableBatchSampler(
            len(cast(Sized, dataset)), batch_size, self.seed, training, training, rank, world_size
        )
        limits = (trainer.limit_train_batches, trainer.overfit_batches > 0) if trainer and training else ()
        return ResumableDataLoader(dataset, sampler, self.num_workers, self.pin_memory, *limits)

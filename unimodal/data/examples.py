"""Datasets of ready examples: augmented, preprocessed, labelled; without weights."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from unimodal.data.parts import part_tensors
from unimodal.data.sampling import Draw, stable_seed
from unimodal.types import IGNORED, Sample

Preprocess = Callable[[Sample], dict[str, Tensor]]
Augment = Callable[[Sample, Any], Sample]


class Examples(Dataset):
    """A sample's tensors, and what the task is to find.

    Args:
        samples: decoded and fitted samples.
        preprocess: one for each of the sample's fields that a tokenizer reads, by field.
        augment: changes a fitted sample at random, or None; it gets the preprocess too.
        seed: augmentation is a pure function of (seed, epoch, index, repeat).
        target: from a sample to `labels`, pickled into workers; or None where the inputs say it all, and an
            example has `counted`, bool, instead.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        preprocess: Mapping[str, Any],
        augment: Augment | None = None,
        seed: int = 0,
        target: Callable[[Sample], Tensor] | None = None,
    ):
        self.samples, self.preprocess, self.augment, self.seed = samples, preprocess, augment, seed
        self.target = target

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, draw: Draw) -> dict[str, Any]:
        sample = self.samples[draw.index]
        change = partial(self._augmented, draw=draw)
        seen = [] if "parts" in sample else [change(sample, one) for one in self.preprocess.values()]
        moved = seen[-1] if seen else sample  # a mask moves with its image
        label = None if self.target is None else self.target(moved)
        example: dict[str, Any] = {}
        if "parts" in sample:
            example["parts"] = part_tensors(sample["parts"], self.preprocess, change)
        else:
            for preprocess, changed in zip(self.preprocess.values(), seen, strict=True):
                example |= preprocess(changed)
        counted = draw.counted and sample.get("counted", True)
        if label is None:
            return example | {"counted": torch.tensor(counted)}
        return example | {"labels": label if counted else torch.full_like(label, IGNORED)}

    def _augmented(self, sample: Sample, preprocess: Any, place: int = 0, *, draw: Draw) -> Sample:
        if self.augment is None:
            return sample
        with torch.random.fork_rng(devices=[]):
            again = (draw.repeat, place) if place else (draw.repeat,) if draw.repeat else ()
            torch.default_generator.manual_seed(stable_seed(self.seed, draw.epoch, draw.index, *again))
            return self.augment(sample, preprocess)


def label_of(sample: Sample) -> Tensor:
    """The target of most tasks: the sample's `label`.

    Raises:
        ValueError: if it has none, or one that would not count.
    """
    if "label" not in sample:
        raise ValueError("the samples have no label; this task needs a data source with labels.")
    label = _as_tensor(sample["label"])
    if (label == IGNORED).all():
        raise ValueError(
            f"a label is {IGNORED}, which stands for a label that does not count; use another unit in the "
            "column that data.columns.label names, or add a constant."
        )
    if not label.isfinite().all():
        raise ValueError(f"a label is {label.tolist()}, which is not finite; correct or remove the sample.")
    return label


def _as_tensor(label: Any) -> Tensor:
    """Return the label, float64 if it is a Python number; float32 on machines with MPS, which has none."""
    tensor = label if isinstance(label, Tensor) else torch.as_tensor(np.asarray(label))
    narrow = tensor.dtype == torch.float64 and torch.backends.mps.is_available()
    return tensor.float() if narrow else tensor

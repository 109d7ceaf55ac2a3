"""What frozen features are good for, measured while they are learned."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

import lightning as L
import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from unimodal.data.collate import collate
from unimodal.data.datamodule import DataModule
from unimodal.data.examples import Examples, label_of
from unimodal.data.sampling import Draw
from unimodal.data.sources.base import Source
from unimodal.tasks.base import Task
from unimodal.training.console import say
from unimodal.types import IGNORED, Sample


class Probe(L.Callback):
    """Logs `val/knn_accuracy` and `val/probe_accuracy`, a linear one, of the task's `vectors`.

    Classifiers are fitted to training samples as they are, without augmentation, and asked about validation
    samples. The task itself learns nothing of it. Data without classes has no such figures.

    Args:
        num_train: training samples at most, drawn once.
        num_val: validation samples at most, drawn once.
        num_neighbors: that vote, each by its cosine similarity.
        strength: of the linear probe's fit, scikit-learn's `C`; features have unit variance.
    """

    metric_modes: Mapping[str, str] = {"knn_accuracy": "max", "probe_accuracy": "max"}

    def __init__(
        self, num_train: int = 2000, num_val: int = 1000, num_neighbors: int = 10, strength: float = 0.1
    ):
        self.num_train, self.num_val = num_train, num_val
        self.num_neighbors, self.strength = num_neighbors, strength

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Called by Lightning; says where nothing will be measured."""
        if not _has_classes(_datamodule(trainer).source):
            say("probe: the data has no classes, there will be no accuracy")

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Called by Lightning, while the model is in evaluation mode."""
        datamodule = _datamodule(trainer)
        if trainer.sanity_checking or not _has_classes(datamodule.source):
            return
        task = cast(Task, pl_module)
        known = _features(trainer, task, "train", self.num_train)
        asked = _features(trainer, task, datamodule.eval_split, self.num_val)
        if len(set(known[1].tolist())) < 2 or not len(asked[1]):
            say("probe: fewer than two classes were drawn, no accuracy; raise callbacks.probe.num_train")
            return
        near = min(self.num_neighbors, len(known[0]))
        knn = KNeighborsClassifier(near, weights="distance", metric="cosine")
        linear = make_pipeline(StandardScaler(), LogisticRegression(C=self.strength, max_iter=500))
        for name, classifier in {"knn_accuracy": knn, "probe_accuracy": linear}.items():
            accuracy = classifier.fit(*known).score(*asked)
            pl_module.log(f"val/{name}", accuracy, prog_bar=True)


def _features(trainer: L.Trainer, task: Task, split: str, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors [num, D] and labels [num] of at most so many samples; each process makes its share of them."""
    datamodule, world_size = _datamodule(trainer), trainer.world_size
    preprocess = _asked(task)
    unasked = datamodule.preprocess.keys() - preprocess.keys()
    samples = _Without(datamodule.samples(split, training=False), unasked)
    examples = Examples(samples, preprocess, target=label_of)
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))
    draws = [Draw(0, index) for index in order[:num].tolist()]
    draws += [Draw(0, 0, counted=False)] * (-len(draws) % world_size)
    own, size = draws[trainer.global_rank :: world_size], datamodule.eval_batch_size
    vectors: list[Tensor] = []
    labels: list[Tensor] = []
    for start in range(0, len(own), size):
        batch = collate([examples[draw] for draw in own[start : start + size]])
        batch = trainer.strategy.batch_to_device(batch)
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            vectors.append(task.vectors(batch).float())
        labels.append(batch["labels"])
    known, wanted = _gathered(task, torch.cat(vectors)), _gathered(task, torch.cat(labels))
    counted = wanted != IGNORED
    return known[counted].cpu().numpy(), wanted[counted].cpu().numpy()


def _asked(task: Task) -> dict[str, Any]:
    """What is done to what the task reads, not to what it learns from that; one medium where it can."""
    if not task.separate:
        return task.asked
    field = min(task.asks, key=lambda field: field == "text")
    return {field: task.asked[field]}


class _Without(Sequence[Sample]):
    """Samples that lack some fields: a caption is not to tell what is in the picture."""

    def __init__(self, samples: Sequence[Sample], fields: Collection[str]):
        self.samples, self.fields = samples, fields

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: Any) -> Any:
        return {key: value for key, value in self.samples[index].items() if key not in self.fields}


def _gathered(task: Task, values: Tensor) -> Tensor:
    """Those of all processes, [num, ...]."""
    return cast(Tensor, task.all_gather(values)).reshape(-1, *values.shape[1:])


def _datamodule(trainer: L.Trainer) -> DataModule:
    datamodule = trainer.datamodule  # type: ignore[attr-defined]  # set by a connector
    if not isinstance(datamodule, DataModule):
        raise ValueError("callbacks=probe measures one source of data; take it out of joint training.")
    return datamodule


def _has_classes(source: Source) -> bool:
    return len(source.class_names) > 1 and not source.multilabel

"""The baseline of a run: a linear model of scikit-learn on simple features of the same splits, in seconds."""

import math
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from threadpoolctl import threadpool_limits  # a dependency of scikit-learn
from torch import Tensor
from torch.utils.data import DataLoader

from unimodal.data.datamodule import DataModule
from unimodal.data.decoding.encoded import BadSample
from unimodal.data.examples import Examples
from unimodal.data.seeded import Seeded
from unimodal.data.simple_features import FEATURES, FeatureRows
from unimodal.data.sources.base import Source
from unimodal.tasks.base import Task
from unimodal.tasks.learner import Learner
from unimodal.training.build import Config
from unimodal.training.console import say
from unimodal.types import IGNORED

HELD_OUT = 5  # one in so many training samples, by which the strength is chosen
MIN_CHOICE = 50  # training samples; with fewer the middle strength is taken
SEED = 0
DOCS = "docs/own-data.md#the-baseline"


@dataclass(frozen=True)
class Kind:
    """A linear model for one kind of label.

    Attributes:
        name: in messages.
        make: an estimator of a strength, scikit-learn's `C`.
        logits: from a fitted estimator, features and the number of outputs to what a task's head would give.
        strengths: to choose from; empty: those of the features.
    """

    name: str
    make: Callable[[float], Any]
    logits: Callable[[Any, Any, int], np.ndarray]
    strengths: tuple[float, ...] = ()


@dataclass(frozen=True)
class Rows:
    """What is read of a split.

    Attributes:
        values: by field, of each sample that counts.
        labels: of these samples.
        total: samples of the split.
    """

    values: list[list[Any]]
    labels: Tensor
    total: int


def fit_baseline(config: Config, learner: Learner, data: Any, monitor: str) -> dict[str, Any] | None:
    """Return what metrics.json says of the baseline, and print it; None where there is none.

    It reads the run's samples: decoded alike, bad ones left out alike, without augmentation. It draws nothing
    from the global generators of random numbers and waits for no other process.

    Args:
        config: of the run.
        learner: that will be trained, on the CPU.
        data: its data module.
        monitor: the metric that decides which checkpoint is best; where it is a loss, the task's own one, or
            its first, is reported.

    Raises:
        ValueError: if too many samples are bad or their labels cannot be learned from, as in training.
    """
    debugs = config["debug"] or config["trainer"]["fast_dev_run"]
    if not config["baseline"] or debugs or not _is_simple(learner, data):
        return None
    task, start = cast(Task, learner), time.monotonic()
    try:
        train, val = _read(data, "train"), _read(data, "val")
    except BadSample as error:  # the run itself stops where it meets this sample
        _say_none(error)
        return None
    try:
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of convergence, and of classes that all samples have or none
            found = _Fit(task, data, train, monitor).validated(val)
    except Exception as error:  # whatever scikit-learn may raise: a run does not end for its baseline
        _say_none(error)
        return None
    shares = _share(train, "training") + _share(val, "validation")
    say(f"baseline: {_described(found)}{shares} ({time.monotonic() - start:.1f} s)")
    return found


def compared(baseline: Mapping[str, Any], metrics: Mapping[str, Any]) -> tuple[str, str]:
    """Return a table's cell on the baseline beside the run, and a line for a run that is below; else "".

    Args:
        baseline: what `fit_baseline` gave.
        metrics: of the run.
    """
    own, value = float(metrics.get(baseline["metric"], math.nan)), baseline["value"]
    gain = own - value if baseline["mode"] == "max" else value - own
    is_share = baseline["metric"].endswith(("accuracy", "f1"))
    size = f"{100 * abs(gain):.1f} points" if is_share else f"{abs(gain):.4g}"
    below = not gain >= 0  # NaN too
    place = f"{size} {'worse' if below else 'better'} than" if gain else "equal to"
    cell = f"{_described(baseline)}; this run is {place} it"
    if math.isnan(own):
        cell = f"{_described(baseline)}; this run has no finite {baseline['metric']}"
    if not below:
        return cell, ""
    return cell, (
        f"This run is below its baseline: {baseline['metric']} is {own:.4f}, that of {baseline['model']} "
        f"{value:.4f}.\nTrain longer (min_steps, trainer.max_epochs), choose a recipe (experiment=...) or "
        f"start from trained weights (pretrained=...); see {DOCS}."
    )


def _described(baseline: Mapping[str, Any]) -> str:
    return f"{baseline['metric']} {baseline['value']:.4f}, {baseline['model']}"


def _share(rows: Rows, split: str) -> str:
    num = len(rows.labels)
    return f", {num:,} of {rows.total:,} {split} samples" if num < rows.total else ""


def _say_none(error: Exception) -> None:
    reason = " ".join(str(error).split()) or type(error).__name__
    say(f"baseline: none, the linear model cannot be fitted: {reason}")


def _is_simple(learner: Learner, data: Any) -> bool:
    """Whether each sample has one label, and features for all that the model reads, at no cost but time."""
    if not isinstance(learner, Task) or not learner.labels_samples or not isinstance(data, DataModule):
        return False
    known = data.preprocess.keys() <= FEATURES.keys() and _kind(data.source) is not None
    if not known or data.source.block or "val" not in data.source.split_names:
        return False
    splits = _examples(data, "train"), _examples(data, "val")
    return all(isinstance(split, Examples) and len(split) > 0 for split in splits)


def _examples(data: DataModule, split: str) -> Any:
    """The examples of a split, in training without the seeds that are added to them."""
    examples = data.dataset(split, split == "train")
    return examples.dataset if isinstance(examples, Seeded) else examples


def _read(data: DataModule, split: str) -> Rows:
    """The samples of a split, or as many as are enough, drawn once."""
    training, fields = split == "train", list(data.preprocess)
    examples = _examples(data, split)
    limits = [FEATURES[one].max_train if training else FEATURES[one].max_val for one in fields]
    drawn = _order(len(examples))[: min(limits) // len(fields)]  # each costs as much as so many
    rows = FeatureRows(examples, fields, drawn.sort().values.tolist())
    read = list(_loaded(rows, data.num_workers))
    labels = torch.stack([label for _, label in read])
    counts = (labels != IGNORED).reshape(len(labels), -1).any(1)
    values = [values for (values, _), one in zip(read, counts.tolist(), strict=True) if one]
    return Rows(values, labels[counts], len(examples))


def _loaded(rows: FeatureRows, num_workers: int) -> Iterable[tuple[list[Any], Tensor]]:
    if not num_workers:
        return map(rows.__getitem__, range(len(rows)))
    generator = torch.Generator()  # else the loader draws from the global one
    return DataLoader(
        rows, batch_size=None, num_workers=num_workers, collate_fn=_as_it_is, generator=generator
    )


def _order(num: int) -> Tensor:
    """A random order that is always the same."""
    return torch.randperm(num, generator=torch.Generator().manual_seed(SEED))


def _as_it_is(row: Any) -> Any:
    return row


class _Fit:
    """A linear model that is fitted to training samples.

    Args:
        task: that defines targets and metrics.
        data: of the run.
        train: its training samples.
        monitor: of the run.
    """

    def __init__(self, task: Task, data: DataModule, train: Rows, monitor: str):
        kind = _kind(data.source)
        assert kind is not None
        self.task, self.kind, self.monitor = task, kind, monitor
        self.fields, self.num_train = list(data.preprocess), len(train.labels)
        self.num_outputs = len(data.source.class_names or data.source.target_names)
        self.encoder = FeatureUnion([self._column(*column, train) for column in enumerate(self.fields)])
        features = self.encoder.fit_transform(train.values)
        targets = task.fit_targets(train.labels).numpy()
        self.model = kind.make(self._strength(features, targets, train.labels)).fit(features, targets)

    def validated(self, val: Rows) -> dict[str, Any]:
        """Return the metric of the validation samples, and what it is of."""
        metrics = self._metrics(self.model, self.encoder.transform(val.values), val.labels)
        name = self._metric(metrics)
        if not math.isfinite(metrics[name]):
            raise ValueError(f"{name} of the validation samples is {metrics[name]}.")
        features = " and ".join(FEATURES[field].name for field in self.fields)
        return {
            "metric": f"val/{name}",
            "value": metrics[name],
            "mode": self._mode(name),
            "model": f"{self.kind.name} on {features}",
            "num_train": self.num_train,
            "num_val": len(val.labels),
        }

    def _column(self, index: int, field: str, train: Rows) -> tuple[str, Any]:
        chosen = FunctionTransformer(_chosen, kw_args={"index": index})
        return field, make_pipeline(chosen, FEATURES[field].encoder(_chosen(train.values, index)))

    def _strength(self, features: Any, targets: np.ndarray, labels: Tensor) -> float:
        """The strength with the best metric on a part of the training samples; the lowest of equal ones."""
        every = {strength for field in self.fields for strength in FEATURES[field].strengths}
        strengths = sorted(self.kind.strengths or every)
        if len(strengths) == 1 or len(labels) < MIN_CHOICE:
            return strengths[len(strengths) // 2]
        order = _order(len(labels)).numpy()
        held, rest = order[::HELD_OUT], np.delete(order, np.s_[::HELD_OUT])

        def gain(strength: float) -> float:
            model = self.kind.make(strength).fit(features[rest], targets[rest])
            metrics = self._metrics(model, features[held], labels[torch.from_numpy(held)])
            name = self._metric(metrics)
            return metrics[name] if self._mode(name) == "max" else -metrics[name]

        return max(strengths, key=gain)

    def _metrics(self, model: Any, features: Any, labels: Tensor) -> dict[str, float]:
        logits = torch.from_numpy(self.kind.logits(model, features, self.num_outputs)).float()
        return {name: float(value) for name, value in self.task.metrics_of(logits, labels).items()}

    def _metric(self, metrics: Mapping[str, float]) -> str:
        """The name of the run's metric, where that is a loss of the task's, else of the first."""
        wanted = (self.monitor, self.task.monitor, *self.task.metric_modes)
        return next(name for name in (one.removeprefix("val/") for one in wanted) if name in metrics)

    def _mode(self, name: str) -> str:
        return self.task.known_modes[f"val/{name}"]


def _chosen(values: list[list[Any]], index: int) -> list[Any]:
    return [row[index] for row in values]


def _class_logits(model: Any, features: Any, num_outputs: int) -> np.ndarray:
    logits = np.full((features.shape[0], num_outputs), -np.inf)  # of a class without training samples
    logits[:, model.classes_] = model.predict_log_proba(features)
    return logits


def _logistic(strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=200)


ONE_CLASS = Kind("logistic regression", _logistic, _class_logits)
CLASSES = Kind(
    "logistic regression",
    lambda strength: OneVsRestClassifier(_logistic(strength)),
    lambda model, features, num_outputs: model.decision_function(features),
)
NUMBERS = Kind(
    "ridge regression",
    lambda strength: Ridge(alpha=1 / strength),
    lambda model, features, num_outputs: model.predict(features).reshape(-1, num_outputs),
    (0.1, 1.0, 10.0),
)


def _kind(source: Source) -> Kind | None:
    """The linear model for the labels of a source."""
    if source.class_names:
        return CLASSES if source.multilabel else ONE_CLASS
    return NUMBERS if source.target_names else None

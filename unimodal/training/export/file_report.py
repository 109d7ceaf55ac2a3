"""What a folder's pipeline and its card's lines make of files, beside what `predict` makes of them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unimodal.hub.trained import CLASSIFICATION
from unimodal.tasks.base import Task
from unimodal.training.export.examples import tensors
from unimodal.training.export.files import HeldOut, expected, is_a, meaning, names_of, said_of, scores
from unimodal.types import IGNORED

FILE_TOLERANCE = 1e-3  # of a probability, or of an output in its unit


@dataclass(frozen=True)
class OfKind:
    """What was found for one kind of file.

    Attributes:
        name: of the kind.
        num: of files that were compared.
        by_lines: largest difference between the card's lines and `predict`.
        by_name: the same of the pipeline where it is given the file's name; None where it was not asked.
        problems: what failed.
    """

    name: str
    num: int
    by_lines: float
    by_name: float | None
    problems: tuple[str, ...]

    @property
    def line(self) -> str:
        """What was found, as a part of a sentence."""
        said = []
        if not math.isnan(self.by_lines):
            said.append(f"the card's lines differ from predict by up to {self.by_lines:.1e}")
        if self.by_name is not None:
            said.append(f"pipeline(file name) by up to {self.by_name:.1e}")
        large = max(self.by_lines, self.by_name or 0) > FILE_TOLERANCE
        hint = "; read such files by the card's lines" * (large and self.by_lines <= FILE_TOLERANCE)
        return ", ".join((*said, *self.problems)) + f" ({self.num} files){hint}"


@dataclass(frozen=True)
class Metric:
    """A metric over held-out files: of `predict`, of the card's lines, and of file names alone."""

    name: str
    num: int
    ours: float
    by_lines: float
    by_name: float | None

    @property
    def line(self) -> str:
        """The numbers, as a part of a sentence; it says where they differ."""
        given = [f"{self.ours:.4g} by predict", f"{self.by_lines:.4g} by the card's lines"]
        if self.by_name is not None:
            given.append(f"{self.by_name:.4g} by pipeline(file name)")
        others = [one for one in (self.by_lines, self.by_name) if one is not None]
        differs = "; they differ" * any(abs(one - self.ours) > FILE_TOLERANCE for one in others)
        return f"{', '.join(given)} ({self.num} held-out samples{differs})"


@dataclass(frozen=True)
class FileReport:
    """What the check from files found; empty where there was nothing to compare."""

    kinds: tuple[OfKind, ...] = ()
    metrics: tuple[Metric, ...] = ()

    @property
    def lines(self) -> dict[str, str]:
        """What was found, by metric and then by kind of file."""
        metrics = {one.name: one.line for one in self.metrics}
        return metrics | {one.name: one.line for one in self.kinds}


def report(
    files: Sequence[HeldOut],
    answers: Mapping[str, np.ndarray],
    task: Task,
    preprocess: Mapping[str, Any],
    with_head: bool,
    scale: Sequence[float],
    writes: bool,
    with_metric: bool,
) -> FileReport:
    """Compare the answers of a clean process with the run's.

    Args:
        files: that were asked about.
        answers: of the clean process.
        task: of the run.
        preprocess: by modality.
        with_head: whether the outputs are those of the head.
        scale: the unit of each output.
        writes: whether texts are compared.
        with_metric: whether the metrics of the run are taken too.
    """
    said = said_of(answers)
    unit = torch.tensor(scale) if with_head else torch.ones(1)
    rows = []
    for index, (one, answer) in enumerate(zip(files, said, strict=False)):
        if writes:
            rows.append(_written(one, answer, task, preprocess))
            continue
        ours = expected(task, one, preprocess[one.field], with_head)
        ours = meaning(task, ours) if with_head else ours
        rows.append(_compared(task, one, answer, answers.get(f"file_{index}"), ours, unit, with_head))
    return FileReport(tuple(_by_kind(rows)), tuple(_metrics(task, rows)) if with_metric else ())


@dataclass(frozen=True)
class _Row:
    one: HeldOut
    ours: Tensor | None
    by_lines: Tensor | None
    by_name: Tensor | None
    differences: tuple[float, ...]
    by_name_difference: float | None
    problem: str


def _compared(
    task: Task,
    one: HeldOut,
    answer: Mapping[str, Any],
    output: np.ndarray | None,
    ours: Tensor,
    unit: Tensor,
    with_head: bool,
) -> _Row:
    whole = None if output is None else torch.from_numpy(output).float()
    whole = meaning(task, whole) if whole is not None and with_head else whole
    piped = scores(task, answer["piped"]) if answer.get("piped") else None
    by_name = scores(task, answer["by_name"]) if answer.get("by_name") else None
    found = [_difference(ours, there, unit) for there in (whole, piped) if there is not None]
    far = None if by_name is None else _difference(ours, by_name, unit)
    failed = [f"the lines raise {answer['error']}"] if "error" in answer else []
    if "by_name_error" in answer:
        failed.append(f"the pipeline given the file name raises {answer['by_name_error']}")
    best = piped if piped is not None else whole
    return _Row(one, ours, best, by_name, tuple(found), far, ", ".join(failed))


def _written(one: HeldOut, answer: Mapping[str, Any], task: Task, preprocess: Mapping[str, Any]) -> _Row:
    """The texts of a captioner without a prompt: equal or not."""
    [ours] = task.answer(_asked(one, task, preprocess))
    same = answer.get("text") == ours["text"]
    problem = "" if same else answer.get("error") or "the text differs"
    return _Row(one, None, None, None, (0.0,) if same else (), None, problem)


def _asked(one: HeldOut, task: Task, preprocess: Mapping[str, Any]) -> dict[str, Tensor]:
    batch = tensors(one.sample, one.field, preprocess[one.field])
    given = task.asked["prompt"]({"prompt": ""})
    return batch | {key: value[None] for key, value in given.items()}


def _difference(ours: Tensor, there: Tensor, unit: Tensor) -> float:
    if ours.shape != there.shape:  # for instance of more tokens than training read
        return math.inf
    return float(((ours - there) / unit).abs().max().nan_to_num(math.inf))


def _by_kind(rows: Sequence[_Row]) -> Iterator[OfKind]:
    for name in dict.fromkeys(", ".join(row.one.kind) for row in rows):
        mine = [row for row in rows if ", ".join(row.one.kind) == name]
        far = [row.by_name_difference for row in mine if row.by_name_difference is not None]
        near = [one for row in mine for one in row.differences]
        problems = tuple(dict.fromkeys(row.problem for row in mine if row.problem))
        yield OfKind(name, len(mine), max(near, default=math.nan), max(far, default=None), problems)


def _metrics(task: Task, rows: Sequence[_Row]) -> Iterator[Metric]:
    """Of the files that have a label and an answer."""
    names = names_of(task)
    good = [row for row in rows if names and row.one.label is not None and row.by_lines is not None]
    labels = [torch.as_tensor(row.one.label) for row in good]
    counted = [i for i, label in enumerate(labels) if not bool((label == IGNORED).all())]
    good, labels = [good[i] for i in counted], [labels[i] for i in counted]
    if not good:
        return
    named = [row.by_name for row in good]
    target = torch.stack(labels)
    ours, there = (_stack([getattr(row, key) for row in good]) for key in ("ours", "by_lines"))
    by_name = None if any(one is None for one in named) else _stack(named)
    for name, metric in METRICS[_kind_of(task)].items():
        alone = None if by_name is None else metric(by_name, target)
        yield Metric(name, len(good), metric(ours, target), metric(there, target), alone)


def _stack(tensors: Sequence[Tensor | None]) -> Tensor:
    return torch.stack([one for one in tensors if one is not None]).double()


def _kind_of(task: Any) -> str:
    if is_a(task, CLASSIFICATION):
        return "multilabel" if task.multilabel else "class"
    return "number"


def _accuracy(predicted: Tensor, labels: Tensor) -> float:
    return float((predicted.argmax(1) == labels).double().mean())


def _micro_f1(predicted: Tensor, labels: Tensor) -> float:
    found, wanted = predicted > 0.5, labels == 1
    return float(2 * (found & wanted).sum() / (found.sum() + wanted.sum()).clamp_min(1))


def _mae(predicted: Tensor, labels: Tensor) -> float:
    return float((predicted - labels).abs().mean())


def _r2(predicted: Tensor, labels: Tensor) -> float:
    """The mean over numbers."""
    rest, spread = (predicted - labels).square().sum(0), (labels - labels.double().mean(0)).square().sum(0)
    varies = spread > 0  # of numbers that are all the same there is no R2
    return float((1 - rest[varies] / spread[varies]).mean()) if varies.any() else math.nan


METRICS = {
    "class": {"accuracy": _accuracy},
    "multilabel": {"micro_f1": _micro_f1},
    "number": {"mae": _mae, "r2": _r2},
}
"""By what the labels are; the metrics of `metrics.json` of these names."""

"""What tasks ask a source about its labels: functions of it that a yaml names with `_partial_: true`."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from unimodal.data.sources.base import Source, class_names, shown
from unimodal.suggestions import nearest
from unimodal.types import IGNORED

SCHEMES = ("none", "balanced", "sqrt")
MIN_STD = 1e-6  # numbers that vary less are taken for constant
MAX_POS_WEIGHT = 100.0


def multilabel(source: Source) -> bool:
    """Whether several classes may apply to one sample."""
    return source.multilabel


def region_names(source: Source) -> list[str]:
    """The classes of what samples consist of: of pixels, words or stretches of sound.

    Raises:
        ValueError: if the data has none.
    """
    if not source.region_names:
        raise ValueError(
            "the data has no labels of pixels, words or stretches of sound; name their column with "
            "data.columns.mask, data.columns.tags or data.columns.segments."
        )
    return list(source.region_names)


def target_names(source: Source) -> list[str]:
    """The names of the numbers to predict.

    Raises:
        ValueError: if the data has none.
    """
    if source.class_names:
        raise ValueError(
            f"the labels are classes ({shown(source.class_names)}); if they are numbers set "
            "data.labels.kind=number, else use task=classification."
        )
    if not source.target_names:
        raise ValueError(f"the data has no numbers to predict; {source.label_hint}.")
    return list(source.target_names)


def target_mean(source: Source) -> list[float]:
    """The mean of each number over the training samples.

    Raises:
        ValueError: if the labels are no numbers, or cannot be learned from.
    """
    return _numbers(source).mean(0).tolist()


def target_std(source: Source) -> list[float]:
    """The standard deviation of each number over the training samples; 1 for one that does not vary.

    Raises:
        ValueError: as `target_mean`.
    """
    std = _numbers(source).std(0, correction=0)
    return torch.where(std < MIN_STD, 1.0, std).tolist()


def class_weights(
    source: Source, scheme: str | Sequence[float] | Mapping[str, float] = "none"
) -> list[float] | None:
    """How much each class weighs in the loss.

    Args:
        source: its training samples are counted.
        scheme: `none`; `balanced`, samples / (classes * samples of the class), which for several labels a
            sample is without / with the class, as torch's `pos_weight`, from 1/100 to 100; `sqrt`, the square
            root of that; the weights themselves, in the order of the classes; or weights by class name, 1
            for the classes that are not named.

    Returns:
        One weight a class, 1 for a class without training samples; None where all weigh the same.

    Raises:
        ValueError: if there is no such scheme, or the data has no classes.
    """
    if isinstance(scheme, Mapping):
        return _weights_by_name(source, scheme)
    if not isinstance(scheme, str):
        return [float(weight) for weight in scheme]
    if scheme not in SCHEMES:
        raise ValueError(
            f"task.class_weights.scheme={scheme} is neither one of {', '.join(SCHEMES)} nor a list, "
            "nor weights by class name."
        )
    if scheme == "none":
        return None
    labels = _labels(source)
    count, total = _counts(source, labels), len(labels)
    if source.multilabel:
        weight = ((total - count) / count.clamp_min(1)).clamp(1 / MAX_POS_WEIGHT, MAX_POS_WEIGHT)
    else:
        weight = total / (len(count) * count.clamp_min(1))
    weight = weight.sqrt() if scheme == "sqrt" else weight
    return torch.where(count > 0, weight, 1.0).tolist()


def _weights_by_name(source: Source, weights: Mapping[str, float]) -> list[float]:
    names = list(class_names(source))
    unknown = next((str(name) for name in weights if str(name) not in names), None)
    if unknown is not None:
        raise ValueError(
            f"task.class_weights.scheme names the class {unknown!r}, which the data does not have"
            f"{nearest(unknown, names) or '.'} The classes are {shown(names)}."
        )
    given = {str(name): float(weight) for name, weight in weights.items()}
    return [given.get(name, 1.0) for name in names]


def balanced_weights(source: Source) -> list[float]:
    """For each training sample its share of draws with which every class is drawn equally often.

    That is 1 / samples of its class. With several labels a sample it is the mean of that over its classes,
    and for a sample without any the mean over all others.

    Raises:
        ValueError: if the data has no classes.
    """
    if not source.class_names:
        kind = f"numbers ({shown(source.target_names)})" if source.target_names else "no classes"
        raise ValueError(f"loader.balanced=true draws each class equally often, but the data has {kind}.")
    labels = _labels(source)
    share = 1 / _counts(source, labels).clamp_min(1)
    if not source.multilabel:
        return share[labels].tolist()
    num = labels.sum(1)
    weight, some = labels @ share / num.clamp_min(1), num > 0
    return torch.where(some, weight, weight[some].mean() if some.any() else 1.0).tolist()


def _labels(source: Source) -> Tensor:
    """Of the training samples: int [samples], or float64 [samples, C] of 0 and 1."""
    labels = source.split_labels("train")
    if source.multilabel:
        return torch.stack([torch.as_tensor(label, dtype=torch.float64) for label in labels])
    return torch.tensor(labels, dtype=torch.int64)


def _counts(source: Source, labels: Tensor) -> Tensor:
    """How many samples each class has, float64 [C]."""
    if source.multilabel:
        return labels.sum(0)
    return torch.bincount(labels, minlength=len(class_names(source))).double()


def _numbers(source: Source) -> Tensor:
    """The training labels, float64 [samples, K]."""
    names = target_names(source)
    rows = [torch.as_tensor(label, dtype=torch.float64) for label in source.split_labels("train")]
    for index, row in enumerate(rows):
        if row.shape != (len(names),):
            raise ValueError(
                f"label {index} of train has shape {tuple(row.shape)}; there are {len(names)} numbers to "
                f"predict: {shown(names)}."
            )
        if not row.isfinite().all():
            raise ValueError(f"label {index} of train is {row.tolist()}, which is not finite.")
        if (row == IGNORED).all():
            raise ValueError(
                f"label {index} of train is {IGNORED}, which stands for a label that does not count; "
                "use another unit, or add a constant."
            )
    return torch.stack(rows)

"""Fits a checkpoint to a task, part by part."""

from torch import Tensor

from unimodal.tasks.base import Task
from unimodal.training.build import Config
from unimodal.training.pretrained.backbone import fit_backbone
from unimodal.training.pretrained.head import fit_head
from unimodal.training.pretrained.origin import Origin
from unimodal.training.pretrained.report import Report
from unimodal.training.pretrained.tokenizer import fit_tokenizers
from unimodal.training.pretrained.vocabulary import make_rows


def fit(task: Task, config: Config, origin: Origin) -> Report:
    """Sort the checkpoint's tensors into what the task takes and what it does not.

    Args:
        task: freshly initialised, without adapters.
        config: the complete config that it was built from.
        origin: the checkpoint.

    Raises:
        ValueError: if backbone, vocabulary or the order of classes do not fit.
    """
    report = Report(origin)
    rows = make_rows(config, origin)
    fit_backbone(task, config, report)
    fit_tokenizers(task, config, report, rows)
    fit_head(task, config, report, rows)
    _check_shared(task, report)
    return report


def _check_shared(task: Task, report: Report) -> None:
    """One tensor with two names cannot take two values."""
    seen: dict[int, tuple[str, Tensor]] = {}
    for name, parameter in task.named_parameters(remove_duplicate=False):
        if name not in report.tensors:
            continue
        value = report.tensors[name]
        other, known = seen.setdefault(id(parameter), (name, value))
        if not known.equal(value):
            raise ValueError(
                f"{other} and {name} are one tensor here and two in {report.origin.name}; "
                "set task.tied=false."
            )

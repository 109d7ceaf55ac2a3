"""The head, and all else outside the model, such as a pooling's weights."""

from collections.abc import Mapping
from typing import Any

from unimodal.tasks.base import Task
from unimodal.training.build import Config
from unimodal.training.pretrained.backbone import show
from unimodal.training.pretrained.report import Report
from unimodal.training.pretrained.vocabulary import Rows

SETTINGS = ("causal", "target_mean", "target_std")  # change what the head sees or says, not its shape


def fit_head(task: Task, config: Config, report: Report, rows: Rows | None) -> None:
    """Take the head where it means the same; what stands between backbone and head where it fits.

    Raises:
        ValueError: if the classes are the same in another order.
    """
    here, there = config["task"], report.origin.config["task"]
    _check_order(here, there, config, report.origin.name)
    reason = _why_new(here, there)
    for name, parameter in task.named_parameters(remove_duplicate=False):
        if name.startswith("model."):
            continue
        known = report.origin.weights.get(name)
        if reason and name.startswith("head."):
            report.new(name, reason)
        elif known is None:
            report.new(name, "not in the checkpoint")
        elif rows and rows.fits(known):
            report.tensors[name] = rows.move(known, parameter)
            report.partly |= {name} if rows.any_new else set()
        elif known.shape == parameter.shape:
            report.tensors[name] = known
        else:
            report.new(name, f"{tuple(parameter.shape)} here, {tuple(known.shape)} there")
    changed = [k for k in SETTINGS if k in here and k in there and here[k] != there[k]]
    if changed and not reason:
        said = ", ".join(f"{k}={show(here[k])} ({show(there[k])})" for k in changed)
        report.notes.append(f"  task here (there): {said}")


def _names(node: Mapping[str, Any]) -> list[str] | None:
    """What a head's outputs stand for: the names of classes or of numbers."""
    return node.get("class_names") or node.get("target_names")


def _why_new(here: Mapping[str, Any], there: Mapping[str, Any]) -> str | None:
    if here["_target_"] != there["_target_"]:
        tasks = (node["_target_"].rpartition(".")[2] for node in (here, there))
        return "{} here, {} there".format(*tasks)
    mine, theirs = _names(here), _names(there)
    if mine != theirs:
        what = "classes" if "class_names" in here else "targets"
        if mine and theirs and len(mine) == len(theirs):
            return f"other {what}"
        return f"{len(mine or [])} {what} here, {len(theirs or [])} there"
    if bool(here.get("multilabel")) != bool(there.get("multilabel")):
        return "several labels a sample on one side, one on the other"
    return None


def _check_order(here: Mapping[str, Any], there: Mapping[str, Any], config: Config, origin: str) -> None:
    mine, theirs = _names(here), _names(there)
    if here["_target_"] != there["_target_"] or not mine or not theirs:
        return
    if mine != theirs and sorted(mine) == sorted(theirs):
        place = next(i for i, pair in enumerate(zip(mine, theirs, strict=True)) if pair[0] != pair[1])
        knob = f": data.labels.class_names={show(theirs)}" if "labels" in config["data"] else ""
        raise ValueError(
            f"{origin} has the same classes in another order: label {place} is {mine[place]!r} here, "
            f"{theirs[place]!r} there; give the data the checkpoint's order{knob}"
        )

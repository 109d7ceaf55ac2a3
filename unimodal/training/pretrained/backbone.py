"""The backbone fits wholly or not at all."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from unimodal.tasks.base import Task
from unimodal.training.build import Config
from unimodal.training.finetune.base import BACKBONE
from unimodal.training.pretrained.report import Report

NO_WEIGHTS = ("layer_types", "window", "block.rope_theta", "block.eps")  # may change: said, no error
AT_START_ONLY = ("checkpointing", "block.residual_init", "drop_path")  # mean nothing for trained weights


def fit_backbone(task: Task, config: Config, report: Report) -> None:
    """Take every tensor of the backbone.

    Raises:
        ValueError: if it has another size or dialect; the message names the overrides that mend it.
    """
    differences = _differences(config["backbone"], report.origin.config["backbone"])
    wrong = {k: v for k, v in differences.items() if k not in NO_WEIGHTS}
    if wrong:
        raise ValueError(_explain(wrong, report.origin.config["backbone"], report.origin.name))
    if differences:
        said = ", ".join(
            f"{_key(k)}={show(here)} ({show(there)})" for k, (here, there) in differences.items()
        )
        report.notes.append(f"  backbone here (there): {said}")
    there = {name: t for name, t in report.origin.weights.items() if name.startswith(BACKBONE)}
    here = {name: t for name, t in task.state_dict().items() if name.startswith(BACKBONE)}
    odd = [n for n in {**here, **there} if n not in here or n not in there or here[n].shape != there[n].shape]
    if odd:
        raise ValueError(
            f"the backbone of {report.origin.name} does not fit: {', '.join(odd[:3])} have another shape or "
            f"are on one side only ({len(odd)} in all)."
        )
    report.tensors |= there


def _differences(here: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What both configs say and say differently, by key; (here, there)."""
    mine, theirs = _flat(_settled(here)), _flat(_settled(there))
    found = {key: (mine[key], theirs[key]) for key in mine if key in theirs and mine[key] != theirs[key]}
    if None not in found.get("block.layer_scale", (None,)):  # both have the scale; the number is its start
        found.pop("block.layer_scale")
    return {key: pair for key, pair in found.items() if key not in AT_START_ONLY}


def _settled(node: Mapping[str, Any]) -> dict[str, Any]:
    """With the widths that null stands for."""
    heads = node.get("num_heads")
    derived = {
        "num_kv_heads": node.get("num_kv_heads") or heads,
        "head_dim": node.get("head_dim") or (node["dim"] // heads if heads else None),
    }
    return dict(node) | {key: value for key, value in derived.items() if key in node}


def _flat(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in node.items():
        inner = isinstance(value, Mapping)
        flat |= _flat(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return flat


def _explain(wrong: dict[str, tuple[Any, Any]], saved: Mapping[str, Any], origin: str) -> str:
    both = "; ".join(
        f"{_key(k)}={show(here)} here, {show(there)} there" for k, (here, there) in wrong.items()
    )
    mend = {k: there for k, (_, there) in wrong.items() if k != "head_dim" or saved["head_dim"] is not None}
    dialect = _dialect(saved.get("block")) if any(k.startswith("block.") for k in wrong) else None
    overrides = [f"block={dialect}"] if dialect else []
    overrides += [f"{_key(k)}={show(v)}" for k, v in mend.items() if not (dialect and k.startswith("block."))]
    return f"the backbone of {origin} does not fit: {both}; add {' '.join(overrides)}"


def _dialect(block: Any) -> str | None:
    """The option of `block=` that says all that the node does."""
    for file in sorted((Path(str(files("unimodal.conf"))) / "block").glob("*.yaml")):
        if yaml.safe_load(file.read_text(encoding="utf-8")) == block:
            return file.stem
    return None


def _key(key: str) -> str:
    """As an override: the block is a group of its own."""
    return key if key.startswith("block.") else f"backbone.{key}"


def show(value: Any) -> str:
    """As it is typed on the command line."""
    words = {None: "null", True: "true", False: "false"}
    if isinstance(value, list | tuple):
        return f"[{','.join(map(show, value))}]"
    return words.get(value, str(value)) if value is None or isinstance(value, bool) else str(value)

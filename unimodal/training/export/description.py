"""What the model card says of a run."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from unimodal.hub.card import Card, Verified
from unimodal.hub.native.fit import Fit
from unimodal.hub.usage_files import Reading
from unimodal.training import build
from unimodal.training.export.asking import Loading
from unimodal.training.export.onnx import graph_inputs
from unimodal.training.export.run import Run

ABSOLUTE = re.compile(r"(?<![^=\[,'\"\s])(?:/|~/|[A-Za-z]:\\)[^\s,'\"\]]*[/\\](?=[^\s,'\"\]/\\])")


PROMPT_ROOM = 8  # tokens, at most, of the text in the card's lines


def describe(
    run: Run, fitted: Fit | None, loading: Loading, name: str, readings: Mapping[str, Reading]
) -> Card:
    """The card of a run's folder, which is called `name`, before it is verified.

    Args:
        run: that is exported.
        fitted: to a stock class, or None.
        loading: how the folder is loaded.
        name: of the folder.
        readings: what the lines that read files have to know, by modality.
    """
    node = run.saved["backbone"]
    norm = "LayerNorm" if (node.get("block") or {}).get("norm") == "layer" else "RMSNorm"
    return Card(
        title=name,
        modality=run.field,
        task=run.saved["task"]["_target_"].rpartition(".")[2],
        family=fitted.family.name if fitted else None,
        class_name=loading.model_class,
        parameters=build.num_parameters(run.task),
        backbone=f"{node['depth']} blocks of width {node['dim']}, {node['num_heads']} heads, {norm}",
        data=_data_lines(run.saved),
        metrics=_metrics(Path(run.checkpoint)),
        command=without_folders(run.saved.get("command", "")),
        notes=(*_inputs(run, loading), *_baseline(Path(run.checkpoint))),
        runtime="onnxruntime" if loading.graph else "transformers",
        adapter=loading.adapter,
        modalities=tuple(run.trained.tokenizers),
        num_new=_num_new(run),
        with_head=loading.with_head,
        readings=readings,
    )


def verified_card(card: Card, verified: Verified, note: str, checked: Mapping[str, str]) -> Card:
    """The card with what the check found.

    Args:
        card: before the check.
        verified: the comparison of outputs.
        note: what else a user has to know.
        checked: what was found on files, by metric and kind.
    """
    notes = (*card.notes, *([f"{note[0].upper()}{note[1:]}."] if note else []))
    sentences = tuple(f"{name}: {found}." for name, found in checked.items())
    return replace(card, verified=verified, notes=notes, checked=sentences)


def _num_new(run: Run) -> int:
    """How much a language model writes in the card's lines: no more than it has learned positions for."""
    if "text" not in run.trained.tokenizers:
        return 64
    tokenizer: Any = run.task.model.tokenizers["text"]
    return min(64, max(1, tokenizer.preprocess.max_len - PROMPT_ROOM))


def _inputs(run: Run, loading: Loading) -> tuple[str, ...]:
    """What a graph reads and gives."""
    if not loading.graph:
        return ()
    lines = graph_inputs(run.task, run.field).lines()
    return tuple(f"Input {line}." for line in lines)


def _data_lines(saved: build.Config) -> tuple[str, ...]:
    """What the run was trained on, in its own words where the data is still there."""
    source, path = saved["data"]["_target_"].rpartition(".")[2], saved["data"].get("path")
    name = f"{Path(path).name} ({source})" if path else source
    try:
        return (name, *(line.strip() for line in build.make_source(saved).describe()))
    except (ValueError, OSError):
        return (name,)


def _metrics(checkpoint: Path) -> dict[str, float]:
    """Of the run folder; none of a checkpoint alone."""
    file = checkpoint / "metrics.json"
    if not file.is_file():
        return {}
    figures = json.loads(file.read_text(encoding="utf-8"))
    return {
        name: value
        for name, value in figures.items()
        if name.startswith(("val/", "test/")) and not isinstance(value, list)  # no intervals
    }


def _baseline(checkpoint: Path) -> tuple[str, ...]:
    """What a linear model reaches on the validation split, for a run folder that says so."""
    file = checkpoint / "metrics.json"
    found = json.loads(file.read_text(encoding="utf-8")).get("baseline") if file.is_file() else None
    if not found:
        return ()
    return (f"Baseline on the same data, {found['model']}: {found['metric']} {found['value']:.6g}.",)


def without_folders(command: str) -> str:
    """A command without the folders of the machine: `data.path=/home/me/photos` tells only `photos`."""
    return ABSOLUTE.sub("", command)

"""What the model card says of a run."""

import json
import re
from pathlib import Path

from unimodal.hub.card import Card, Verified
from unimodal.hub.native.fit import Fit
from unimodal.training import build
from unimodal.training.export.onnx import graph_inputs
from unimodal.training.export.run import Run
from unimodal.training.export.verify import Loading

ABSOLUTE = re.compile(r"(?<![^=\[,'\"\s])(?:/|~/|[A-Za-z]:\\)[^\s,'\"\]]*[/\\](?=[^\s,'\"\]/\\])")


def describe(
    run: Run, fitted: Fit | None, loading: Loading, verified: Verified, name: str, note: str
) -> Card:
    """The card of a run's folder, which is called `name`; `note` is what else a user has to know."""
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
        verified=verified,
        notes=(*_inputs(run, loading), *([f"{note[0].upper()}{note[1:]}."] if note else [])),
        runtime="onnxruntime" if loading.graph else "transformers",
        adapter=loading.adapter,
        modalities=tuple(run.trained.tokenizers),
    )


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
    return {name: value for name, value in figures.items() if name.startswith(("val/", "test/"))}


def without_folders(command: str) -> str:
    """A command without the folders of the machine: `data.path=/home/me/photos` tells only `photos`."""
    return ABSOLUTE.sub("", command)

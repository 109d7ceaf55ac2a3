"""The run that is exported."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unimodal.hub.adapter import Adapter
from unimodal.hub.trained import Trained
from unimodal.tasks.base import Task
from unimodal.training import build, checkpoints
from unimodal.training.export.adapter import split

STOCK = (
    "image",
    "audio",
    "video",
    "text",
)  # what transformers reads; the first of a model's is compared first

MADE = ("pixel_values", "input_values", "pixel_values_videos", "input_ids")  # by stock processors


@dataclass(frozen=True)
class Run:
    """What is exported.

    Attributes:
        saved: the checkpoint's config.
        task: with its weights, adapters merged.
        trained: the same as plain data.
        field: the modality on which outputs are compared.
        checkpoint: as the user named it.
        adapter: that is written apart; then `task` has it unmerged and `trained` not at all.
    """

    saved: build.Config
    task: Task
    trained: Trained
    field: str
    checkpoint: str
    adapter: Adapter | None = None


def read_run(config: build.Config, config_dirs: Iterable[Path]) -> Run:
    """The run's best weights, averaged ones where it averaged them."""
    saved, weights = checkpoints.load(config["checkpoint"], config_dirs)
    modality = config["only"]
    if saved["mix"]:
        saved, weights = checkpoints.of_source(saved, weights, modality, "modality")
        modality = None
    task = build.restore_task(saved, weights, merged=not config["adapter"]).eval()
    plain, adapter = split(saved, weights) if config["adapter"] else (task.state_dict(), None)
    fields = list(task.model.tokenizers.keys())
    only, modality = modality, modality or next((name for name in STOCK if name in fields), fields[0])
    if modality not in fields:
        raise ValueError(f"modality={modality} is not in this model; it reads {', '.join(fields)}.")
    if modality not in STOCK:
        raise ValueError(f"transformers has no {modality}; what can be exported reads {', '.join(STOCK)}.")
    for name in [modality] if config["only"] else fields:
        _check_made(task.model.tokenizers[name])
    nodes = dict(zip(fields, build.tokenizer_nodes(saved), strict=True))
    chosen = {modality: nodes[modality]} if only else nodes
    trained = Trained(saved["backbone"], chosen, saved["task"], plain)
    return Run(saved, task, trained, modality, str(config["checkpoint"]), adapter)


def _check_made(tokenizer: Any) -> None:
    if tokenizer.input_key not in MADE:
        raise ValueError(
            f"{type(tokenizer).__name__} cannot be exported: no processor of transformers makes the "
            f"{tokenizer.input_key} that it reads; train with another tokenizer=."
        )

"""The comparison of a written folder with the run: in a process that has never heard of unimodal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unimodal.hub.trained import Node
from unimodal.tasks.base import Task
from unimodal.training.export.asking import (
    NO_LINES,
    PROCESSORS,
    CardLines,
    Loading,
    ask_clean_process,
    difference,
    worst_of,
)
from unimodal.training.export.examples import as_array, tensors
from unimodal.training.export.prompts import Prompts
from unimodal.types import Sample


def units(node: Node) -> list[float]:
    """What the outputs of a task are measured in: the numbers of a regression are as large as the data's."""
    scale = zip(node.get("target_mean", [0.0]), node.get("target_std", [1.0]), strict=True)
    return [max(abs(mean), std) for mean, std in scale]


def verify(
    folder: Path,
    loading: Loading,
    task: Task,
    samples: Sequence[Sample],
    scale: Sequence[float] = (1.0,),
    prompts: Prompts | None = None,
    card: CardLines = NO_LINES,
) -> tuple[float, Mapping[str, np.ndarray]]:
    """The largest difference between any output of the folder's model and the run's.

    Each sample goes through the folder's own processor there and through ours here.

    Args:
        folder: as it will be.
        loading: how it is loaded.
        task: the run's.
        samples: that both are asked about.
        scale: `units` of the head's outputs.
        prompts: that both continue; None for a folder that writes nothing.
        card: whose lines must run there.

    Returns:
        The difference over `scale`, and all answers of the clean process.

    Raises:
        ValueError: if the folder does not load, the card's lines fail, or an output differs by more than
            `asking.TOLERANCE`.
    """
    preprocess = _preprocess(task, loading.field)
    request, arrays = _asked(folder, loading, preprocess, samples)
    if prompts:
        request, arrays = request | prompts.request(), arrays | prompts.arrays()
    answers = ask_clean_process(folder, request, arrays, card)
    differences = prompts.differences(answers) if prompts else []
    for index, sample in enumerate(samples):
        batch = tensors(sample, loading.field, preprocess)
        if f"ids_{index}" in answers:
            batch = _same_text(batch, torch.from_numpy(answers[f"ids_{index}"])[None], task)
        expected = _outputs(task, batch, loading.with_head)
        there = [answers[name] for name in (f"output_{index}", f"together_{index}") if name in answers]
        unit = torch.tensor(scale) if loading.with_head else torch.ones(1)
        differences += [difference(expected / unit, torch.from_numpy(one) / unit) for one in there]
    return worst_of(differences), answers


def _asked(folder: Path, loading: Loading, preprocess: Any, samples: Sequence[Sample]) -> tuple[dict, dict]:
    """The request of a clean process, and the samples."""
    asked = {
        "num_samples": len(samples),
        "processor_class": PROCESSORS[loading.field],
        "field": loading.field,
        "sample_rate": getattr(preprocess, "sample_rate", None),
        "max_len": getattr(preprocess, "max_len", None),
        "method": loading.method,
        "output": loading.output,
    }
    arrays = {f"sample_{i}": as_array(sample, loading.field) for i, sample in enumerate(samples)}
    return loading.request(folder) | asked, arrays


def _preprocess(task: Task, field: str) -> Any:
    tokenizer: Any = task.model.tokenizers[field]
    return tokenizer.preprocess


def _same_text(batch: dict[str, torch.Tensor], ids: torch.Tensor, task: Task) -> dict[str, torch.Tensor]:
    """The ids of the folder's tokenizer; a language model's may begin with the end of the text before."""
    own = batch["input_ids"]
    if task.causal and ids.shape[1] > 1 and not torch.equal(ids, own):
        own = torch.cat((ids[:, :1], own), 1)[:, : ids.shape[1]]
    if not torch.equal(ids, own):
        raise ValueError("the exported tokenizer gives other ids than the run's; please report it.")
    return {"input_ids": ids}


@torch.no_grad()
def _outputs(task: Task, batch: dict[str, torch.Tensor], with_head: bool) -> torch.Tensor:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the other side: sums in the same order
    try:
        return (task.outputs(batch) if with_head else task.encode(batch).embeds)[0].float()
    finally:
        torch.set_num_threads(threads)

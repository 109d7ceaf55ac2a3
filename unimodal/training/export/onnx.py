"""A run as model.onnx."""

import copy
from pathlib import Path
from typing import Any

from torch import Tensor

from unimodal.hub.native.heads import POOLED
from unimodal.hub.onnx import Inputs, check_installed, inputs_of, write_onnx
from unimodal.hub.trained import LANGUAGE_MODELING, Trained
from unimodal.tasks.base import Task
from unimodal.training.export.asking import Loading
from unimodal.types import Batch

SESSION = "InferenceSession"  # of onnxruntime


def check_graph(adapter: bool) -> None:
    """Raise before anything is read where no graph can be written."""
    check_installed()
    if adapter:
        raise ValueError("format=onnx holds an adapter merged into its model; leave out adapter=true.")


def write_graph(folder: Path, task: Task, trained: Trained, field: str, head: bool) -> Loading:
    """Write the files of a run in ONNX; returns how they are loaded.

    Args:
        folder: exists.
        task: of the run.
        trained: the same, of one modality.
        field: which.
        head: whether its head goes along, where the task has one.
    """
    task = copy.deepcopy(task).cpu().float().eval()
    with_head = head and trained.task["_target_"] in (*POOLED, LANGUAGE_MODELING)

    def tokens(batch: Batch) -> Tensor:
        return task.encode(batch).embeds

    answer, out = (task.outputs, "logits") if with_head else (tokens, "last_hidden_state")
    write_onnx(folder, trained, graph_inputs(task, field), task, answer, out)
    return Loading(SESSION, False, field, with_head, graph=True)


def graph_inputs(task: Task, field: str) -> Inputs:
    """What the graph is given."""
    tokenizer: Any = task.model.tokenizers[field]
    return inputs_of(field, tokenizer.preprocess)

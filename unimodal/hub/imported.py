"""A Hugging Face folder in our terms."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from unimodal.hub.trained import Node


@dataclass(frozen=True)
class Imported:
    """What a folder's files say, before any weight is read.

    Attributes:
        name: the folder, as the user named it.
        label: what it is, for the user.
        field: what the tokenizer that was asked for reads, or the only one.
        causal: a token sees only what stands before it.
        backbone: the node of our transformer.
        tokenizers: the nodes of our tokenizers by field, preprocessing included.
        task: the node of its head: `class_names` where there are any, and what the folder's class dictates.
        note: what is prepared otherwise than by its processor; empty for nothing.
        weights: reads them, by the names of a task's state dict.
    """

    name: str
    label: str
    field: str
    causal: bool
    backbone: Node
    tokenizers: Mapping[str, Node]
    task: Node
    note: str
    weights: Callable[[], dict[str, Tensor]]

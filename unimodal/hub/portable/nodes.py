"""From the nodes of a config to modules. A node can name only what `parts` lists."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from unimodal.hub.portable.configuration_unimodal import UnimodalConfig
from unimodal.hub.portable.parts import PARTS
from unimodal.model import Unimodal
from unimodal.tasks.pooling import MeanPooling


def make(node: Mapping[str, Any]) -> Any:
    """The object that a node names, those inside it made first.

    Raises:
        ValueError: if its `_target_` is not in `PARTS`, or the class does not take these arguments.
    """
    name = str(node.get("_target_"))
    if name not in PARTS:
        raise ValueError(
            f"config.json names {name}, which is no part of this model; put a class of your own into PARTS, "
            f"beside {', '.join(PARTS)}."
        )
    arguments = {key: _made(value) for key, value in node.items() if key != "_target_"}
    try:
        return PARTS[name](**arguments)
    except TypeError as error:
        raise ValueError(f"config.json: {name} cannot be made: {error}") from error


def make_model(config: UnimodalConfig) -> Unimodal:
    """Tokenizers and backbone, freshly initialised; a text tokenizer has `config.vocab_size` ids."""
    nodes = dict(config.tokenizers)
    if "text" in nodes:
        nodes["text"] = {**nodes["text"], "vocabulary": None, "vocab_size": config.vocab_size}
    return Unimodal({name: make(node) for name, node in nodes.items()}, make(config.backbone))


def make_pooling(config: UnimodalConfig) -> nn.Module:
    """From tokens to one vector; the mean where the task does not say."""
    node = config.task.get("pooling")
    return make(node) if node else MeanPooling()


def named(config: UnimodalConfig) -> set[str]:
    """The `_target_` of every node that is built of a config; the task's own is not."""
    names: set[str] = set()
    todo: list[Any] = [config.backbone, *config.tokenizers.values(), *config.task.values()]
    while todo:
        node = todo.pop()
        if isinstance(node, Mapping):
            names |= {str(node["_target_"])} if "_target_" in node else set()
            todo.extend(node.values())
    return names


def _made(value: Any) -> Any:
    return make(value) if isinstance(value, Mapping) else value

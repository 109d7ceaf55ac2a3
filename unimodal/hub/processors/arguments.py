"""What a node says of its tokenizer, its class's defaults filled in."""

import inspect
from importlib import import_module
from typing import Any

from unimodal.hub.trained import Node


def arguments(node: Node) -> dict[str, Any]:
    """Every argument of the tokenizer by its name, but for a `dim` that the node leaves out.

    Raises:
        ValueError: if the node names no class, or one that does not take these arguments.
    """
    module, _, name = node["_target_"].rpartition(".")
    given = {key: value for key, value in node.items() if key != "_target_"}
    try:
        bound = inspect.signature(vars(import_module(module))[name]).bind_partial(**given)
    except (ImportError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the tokenizer {node['_target_']} cannot be read: {error}.") from error
    bound.apply_defaults()
    return dict(bound.arguments)

"""Stock classes with a head, and what a task must be to be one of them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from unimodal.hub.native.spec import Spec
from unimodal.hub.native.tensors import Entry, Module, TiedHead
from unimodal.hub.trained import CLASSIFICATION, LANGUAGE_MODELING, REGRESSION, Node

POOLED = (CLASSIFICATION, REGRESSION)
POOLINGS = "unimodal.tasks.pooling."

Settings = dict[str, Any]


@dataclass(frozen=True)
class Head:
    """A stock class.

    Attributes:
        stock: its name in transformers.
        tasks: the tasks that it can hold; none for a bare backbone.
        prefix: of the backbone's tensors.
        entries: the head's own tensors.
        needs: settings of the task that it dictates, as `settings` tells them; a function is one of the spec.
        spec: keys of the spec that choose between classes of one family.
        config: what its config.json says besides, of the spec.
        missing: tensors of its own that we have nothing for, and that the class makes anew, such as a pooler.
    """

    stock: str
    tasks: tuple[str, ...] = ()
    prefix: str = ""
    entries: tuple[Entry, ...] = ()
    needs: Mapping[str, Any] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    config: Callable[[Spec], dict[str, Any]] = lambda spec: {}
    missing: tuple[str, ...] = ()

    def suits(self, spec: Spec) -> bool:
        """Whether this is the class of such a backbone."""
        return all(spec[key] == value for key, value in self.spec.items())


def pooled(stock: str, prefix: str, pooling: str, classifier: str = "classifier", **more: Any) -> Head:
    """A class with a linear layer on one vector."""
    entries = (Module(classifier, "head"), *more.pop("entries", ()))
    needs = {"pooling": pooling, "head_norm": False, "head_bias": True, "causal": False} | more.pop(
        "needs", {}
    )
    return Head(stock, POOLED, prefix, entries, needs, **more)


def language_model(stock: str, prefix: str, embedding: str) -> Head:
    """A class that predicts the next token."""
    return Head(stock, (LANGUAGE_MODELING,), prefix, (TiedHead("lm_head", embedding),))


def last_token(stock: str, prefix: str) -> Head:
    """A language model that classifies: a linear layer without bias on the last token."""
    return pooled(stock, prefix, "last", "score", needs={"head_bias": False, "causal": True})


def settings(task: Node) -> Settings:
    """What of a pooled task a stock class may dictate."""
    pooling = task.get("pooling") or {}
    name = str(pooling.get("_target_", "")).removeprefix(POOLINGS).removesuffix("Pooling")
    name = re.sub(r"(?<=.)(?=[A-Z])", "_", name).lower()  # as the option is called
    return {
        "pooling": f"{name} {pooling.get('num_tokens', 1)}" if name == "first" else name,
        "head_norm": bool(task.get("head_norm", False)),
        "head_norm_eps": task.get("head_norm_eps", 1e-5),
        "head_bias": bool(task.get("head_bias", True)),
        "causal": bool(task.get("causal", False)),
    }


def pooling_node(pooling: str) -> Node:
    """The node of a pooling as `settings` tells it."""
    name, _, num = pooling.partition(" ")
    node: Node = {"_target_": f"{POOLINGS}{name.capitalize()}Pooling"}
    return node | ({"num_tokens": int(num)} if num else {})

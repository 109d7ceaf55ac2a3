"""From a run to the config of its export."""

import inspect
from collections.abc import Mapping
from typing import Any

from unimodal.hub.labels import label_settings, special_ids
from unimodal.hub.portable.auto import AUTO_CLASSES, OF_FIELD, OF_TASK, auto_map
from unimodal.hub.portable.configuration_unimodal import UnimodalConfig
from unimodal.hub.portable.names import find
from unimodal.hub.trained import (
    CAPTIONING,
    CLASSIFICATION,
    CONTRASTIVE,
    CTC,
    LANGUAGE_MODELING,
    REGRESSION,
    Node,
    Trained,
)

HYDRA = ("_convert_", "_recursive_")
EMBEDDING = "model.tokenizers.text.embedding.weight"


def describe(trained: Trained) -> UnimodalConfig:
    """Complete nodes, names of labels, special tokens, and the classes that load it."""
    tokenizers = {field: _complete(node) for field, node in trained.tokenizers.items()}
    for node in tokenizers.values():
        node.pop("vocabulary", None)  # tokenizer.json
        node.pop("vocab_size", None)  # the config's own
    backbone = {**_complete(trained.backbone), "checkpointing": False, "drop_path": 0.0}
    classes = _auto_classes(trained)
    return UnimodalConfig(
        backbone=backbone,
        tokenizers=tokenizers,
        task=_task(trained),
        max_samples=_max_samples(trained.tokenizers),
        architectures=[AUTO_CLASSES[classes[-1]]],
        auto_map=auto_map(classes),
        tie_word_embeddings=bool(trained.task.get("tied", False)),
        **_labels(trained.task),
        **_text(trained),
    )


def _auto_classes(trained: Trained) -> list[str]:
    """The bare model's and the head's; a joint model's head is loaded by any of its modalities' classes."""
    target = trained.task["_target_"]
    if target == LANGUAGE_MODELING:
        return ["AutoModel", "AutoModelForCausalLM"]
    if target in OF_TASK:
        return ["AutoModel", OF_TASK[target]]
    if target not in (CLASSIFICATION, REGRESSION):
        return ["AutoModel"]
    heads = [OF_FIELD[field] for field in trained.tokenizers if field in OF_FIELD]
    return ["AutoModel", *reversed(heads)]


def _complete(node: Mapping[str, Any]) -> Node:
    """A node with the defaults of its class filled in: another version may have others."""
    parameters = inspect.signature(find(node["_target_"])).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    return {key: _plain(value) for key, value in {**defaults, **node}.items() if key not in HYDRA}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _complete(value) if "_target_" in value else dict(value)
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _task(trained: Trained) -> Node:
    """What the exported classes read; of a task that they do not know only its name."""
    node, target = trained.task, trained.task["_target_"]
    if target == LANGUAGE_MODELING:
        return {**node, "causal": True}
    if target == CTC:
        num_labels = len(trained.weights["head.bias"]) // _frames_per_token(node)
        return {"_target_": target, "frames_per_token": _frames_per_token(node), "num_labels": num_labels}
    if target == CONTRASTIVE:
        width = len(trained.weights[f"projections.{next(iter(trained.tokenizers))}.weight"])
        similarity = {"projection_dim": width, "has_bias": "contrast.bias" in trained.weights}
        return {"_target_": target, "pooling": _plain(node["pooling"]), **similarity}
    if target not in (CLASSIFICATION, REGRESSION):
        return {"_target_": target}
    return {key: _plain(value) for key, value in node.items()}


def _frames_per_token(node: Node) -> int:
    return int(_complete(node)["frames_per_token"])


def _labels(task: Node) -> dict[str, Any]:
    return label_settings(task) if task["_target_"] in (CLASSIFICATION, REGRESSION) else {}


def _text(trained: Trained) -> dict[str, Any]:
    if trained.task["_target_"] == CTC:
        return special_ids(trained.task["vocabulary"])  # the end of text is the blank
    if "text" not in trained.tokenizers:
        return {}
    rows, ids = trained.weights[EMBEDDING].shape[0], special_ids(trained.tokenizers["text"]["vocabulary"])
    start = {"bos_token_id": ids["eos_token_id"]} if trained.task["_target_"] == CAPTIONING else {}
    return {"vocab_size": rows, **ids, **start}


def _max_samples(tokenizers: Mapping[str, Node]) -> int | None:
    """Of the longest waveform that the run read."""
    if "audio" not in tokenizers:
        return None
    node = _complete(tokenizers["audio"])
    seconds = node.get("max_seconds")
    return None if seconds is None else round(seconds * node["sample_rate"])

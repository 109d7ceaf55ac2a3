"""What a config.json says of a head and of a vocabulary."""

from typing import Any, cast

from unimodal.hub.trained import Node
from unimodal.tokenizers.text import fast_tokenizer


def label_settings(task: Node) -> dict[str, Any]:
    """Names of the outputs and the kind of problem; nothing for a task without names."""
    names = task.get("class_names") or task.get("target_names")
    if not names:
        return {}
    kind = "multi_label" if task.get("multilabel") else "single_label"
    problem = "regression" if task.get("target_names") else f"{kind}_classification"
    ids = dict(enumerate(names))
    return {"id2label": ids, "label2id": {name: i for i, name in ids.items()}, "problem_type": problem}


def special_ids(vocabulary: dict[str, str]) -> dict[str, int]:
    """The vocabulary's own, where it came with some; else the end of text is start and padding too."""
    fast, eos = fast_tokenizer(vocabulary["tokenizer"]), vocabulary["eos_token"]
    names = ("bos_token", "eos_token", "pad_token")
    return {f"{name}_id": cast(int, fast.token_to_id(vocabulary.get(name, eos))) for name in names}

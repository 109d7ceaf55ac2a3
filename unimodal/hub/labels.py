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
    """A text starts with the end of the one before it, as in training; padding is the same token."""
    eos = cast(int, fast_tokenizer(vocabulary["tokenizer"]).token_to_id(vocabulary["eos_token"]))
    return {"bos_token_id": eos, "eos_token_id": eos, "pad_token_id": eos}

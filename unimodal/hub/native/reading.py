"""A stock folder as one of our models: the tables read the other way."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from unimodal.hub.folder import Folder
from unimodal.hub.imported import Imported
from unimodal.hub.native import families
from unimodal.hub.native.family import Family, Misfit
from unimodal.hub.native.heads import CLASSIFICATION, LANGUAGE_MODELING, Head, pooling_node
from unimodal.hub.native.spec import Spec, to_nodes
from unimodal.hub.processors.reading import read_processors
from unimodal.hub.trained import Node


def read_stock(folder: Folder, field: str | None = None) -> Imported:
    """Find the family of a folder and read its settings.

    Args:
        folder: of a model of transformers.
        field: which of several models to take, where there are several (CLIP, SigLIP): `image` or `text`.

    Raises:
        ValueError: if it is of no family that the block can be, with the reason.
    """
    reasons: list[str] = []
    for family, config in _candidates(folder, field):
        try:
            spec = family.read_spec(config)
        except Misfit as misfit:
            reasons.append(str(misfit))
            continue
        return _stock(folder, family, config, spec)
    kind = folder.config.get("model_type")
    known = ", ".join(sorted({family.model_type for family in families().values()}))
    why = reasons[0] if reasons else f"its model_type is {kind}; known are {known}."
    raise ValueError(f"{folder.name} can not be read as one of our models: {why}")


def _candidates(folder: Folder, field: str | None) -> list[tuple[Family, Mapping[str, Any]]]:
    """Tables of its model type, and of the parts of a model of several; those of the field first."""
    config, found = folder.config, []
    for family in families().values():
        if config.get("model_type") == family.model_type:
            found.append((family, config))
        elif family.part in config and family.model_type.startswith(f"{config.get('model_type')}_"):
            found.append((family, config[family.part] or {}))
    return sorted(found, key=lambda pair: pair[0].field != (field or "image"))


def _stock(folder: Folder, family: Family, config: Mapping[str, Any], spec: Spec) -> Imported:
    said = dict(read_processors(folder).get(family.field, {}))
    note = said.pop("note", "")
    backbone, tokenizer = to_nodes(spec, family.tokenizer)
    shape = {key for key in tokenizer if key != "max_len" or spec["tokenizer.learned_positions"]}
    tokenizer |= {key: value for key, value in said.items() if key not in shape and key in ALSO[family.field]}
    if family.field == "text" and "vocabulary" not in tokenizer:
        tokenizer["vocabulary"] = None
    head = _head(folder, family, spec)

    def weights() -> dict[str, Tensor]:
        ours = family.read_tensors(folder.tensors(), spec, head)
        return {_own_name(name, family.field): tensor for name, tensor in ours.items()}

    return Imported(
        name=folder.name,
        label=head.stock or f"{family.name} without a head",
        field=family.field,
        causal=family.causal,
        backbone=backbone,
        tokenizers={family.field: tokenizer},
        task=_task(folder, family, config, head, spec),
        note=note,
        weights=weights,
    )


ALSO = {
    "image": ("mean", "std"),
    "video": ("mean", "std"),
    "audio": ("mean", "std", "sample_rate"),
    "text": ("vocabulary", "max_len"),
}
"""What a processor says and the config does not."""


def _head(folder: Folder, family: Family, spec: Spec) -> Head:
    stock = (folder.config.get("architectures") or [""])[0]
    suits = [h for h in family.heads if all(spec[key] == value for key, value in h.spec.items())]
    bare = Head("", (), "", (), next((h.needs for h in suits if h.needs), {}))
    return next((head for head in suits if head.stock == stock), bare)


def _task(folder: Folder, family: Family, config: Mapping[str, Any], head: Head, spec: Spec) -> Node:
    if LANGUAGE_MODELING in head.tasks:
        return {"_target_": LANGUAGE_MODELING, "tied": spec["tied"]}
    dictates = head.needs or next((h.needs for h in family.heads if h.needs), {"causal": family.causal})
    task: Node = {key: value(spec) if callable(value) else value for key, value in dictates.items()}
    if "pooling" in task:
        task["pooling"] = pooling_node(task["pooling"])
    names = family.full(config).get("id2label")  # a config without it has two
    labels = [str(names[key]) for key in sorted(names, key=int)] if names and head.tasks else None
    multilabel = folder.config.get("problem_type") == "multi_label_classification"
    return {"_target_": CLASSIFICATION, "class_names": labels, "multilabel": multilabel} | task


def _own_name(name: str, field: str) -> str:
    if name.startswith(("head.", "head_norm.")):
        return name
    if name.startswith("tokenizer."):
        return f"model.tokenizers.{field}.{name.removeprefix('tokenizer.')}"
    return f"model.backbone.{name}"

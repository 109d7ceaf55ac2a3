"""A stock folder as one of our models: the tables read the other way."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from unimodal.hub.folder import Folder
from unimodal.hub.imported import Imported
from unimodal.hub.native import families
from unimodal.hub.native.family import Family, Misfit
from unimodal.hub.native.heads import Head, pooling_node
from unimodal.hub.native.spec import Spec, to_nodes
from unimodal.hub.native.tensors import Entry, Neutral, Tensors
from unimodal.hub.processors.reading import read_processors
from unimodal.hub.trained import CLASSIFICATION, LANGUAGE_MODELING, Node

NUMBERS = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool)


def read_stock(folder: Folder, field: str | None = None) -> Imported:
    """Find the family of a folder and read its settings.

    Args:
        folder: of a model of transformers.
        field: which of several models to take, where there are several (CLIP, SigLIP): `image` or `text`.

    Raises:
        ValueError: if it is of no family that the block can be, with the reason.
    """
    if folder.config.get("quantization_config"):
        raise ValueError(
            f"{folder.name} is quantised; load it with transformers, dequantise() and save it again."
        )
    reasons: list[str] = []
    for family, config in _candidates(folder, field):
        try:
            spec = family.read_spec(config)
            return _stock(folder, family, config, spec)
        except Misfit as misfit:
            reasons.append(str(misfit))
        except Exception as error:  # whatever a stock config's own checks raise
            raise ValueError(
                f"{folder.name}/config.json cannot be used: {' '.join(str(error).split())}"
            ) from error
    kind = folder.config.get("model_type")
    known = ", ".join(sorted({family.model_type for family in families().values()}))
    why = reasons[0] if reasons else f"its model_type is {kind}; known are {known}."
    raise ValueError(f"{folder.name} cannot be read as one of our models: {why}")


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
    note += _note_of_size(said.get("image_size"), spec)
    head = _head(folder, family, config, spec)

    def weights() -> dict[str, Tensor]:
        disk = folder.tensors()
        odd = next((name for name, tensor in disk.items() if tensor.dtype not in NUMBERS), None)
        if odd:
            raise ValueError(f"{folder.name}: {odd} is {disk[odd].dtype}; only float weights can be read.")
        ours = family.read_tensors(disk, spec, head)
        if any(_has_effect(entry, disk, spec) for entry in head.entries):
            ours = {name: tensor for name, tensor in ours.items() if not name.startswith("head")}
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


def _head(folder: Folder, family: Family, config: Mapping[str, Any], spec: Spec) -> Head:
    stock, full = (folder.config.get("architectures") or [""])[0], family.full(config)
    suits = [head for head in family.heads if head.suits(spec)]
    bare = Head("", (), "", (), next((head.needs for head in suits if head.needs), {}))
    found = next((head for head in suits if head.stock == stock), bare)
    same = all(full.get(key) == value for key, value in found.config(spec).items())
    return found if same else bare


def _has_effect(entry: Entry, disk: Tensors, spec: Spec) -> bool:
    """Whether a tensor that we have no use for does something in this head."""
    if not isinstance(entry, Neutral) or entry.theirs not in disk:
        return False
    there, without = disk[entry.theirs], entry.make(spec)
    return there.shape != without.shape or not torch.equal(there.float(), without)


def _note_of_size(said: Any, spec: Spec) -> str:
    """Of a model that was trained on larger pictures than its processor gives."""
    size = spec.get("tokenizer.image_size")
    if not said or not size or list(said) == list(size):
        return ""
    return f" its processor gives {said[0]} x {said[1]} pixels, its positions are for {size[0]} x {size[1]}."


def _task(folder: Folder, family: Family, config: Mapping[str, Any], head: Head, spec: Spec) -> Node:
    suits = (h for h in family.heads if h.needs and h.suits(spec))
    dictates = head.needs or next((h.needs for h in suits), {"causal": family.causal})
    task: Node = {key: value(spec) if callable(value) else value for key, value in dictates.items()}
    if "pooling" in task:
        task["pooling"] = pooling_node(task["pooling"])
    if LANGUAGE_MODELING in head.tasks:
        return {"_target_": LANGUAGE_MODELING, "tied": spec["tied"]} | task
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

"""A portable folder read again: as data, without its code."""

from torch import Tensor

from unimodal.hub.folder import Folder
from unimodal.hub.imported import Imported
from unimodal.hub.portable.describe import EMBEDDING
from unimodal.hub.processors.reading import read_processors
from unimodal.hub.trained import LANGUAGE_MODELING, Node


def read_portable(folder: Folder, field: str) -> Imported:
    """The nodes that stand in its config, and its vocabulary. What they name is for the caller to check.

    Raises:
        ValueError: if the config is not as we write it.
    """
    config = folder.config
    backbone, tokenizers, task = (_section(folder, key) for key in ("backbone", "tokenizers", "task"))
    said = read_processors(folder).get("text", {}) if "text" in tokenizers else {}
    vocabulary = {"vocabulary": said.get("vocabulary"), "vocab_size": config.get("vocab_size")}
    nodes = {name: node | (vocabulary if name == "text" else {}) for name, node in tokenizers.items()}
    names = config.get("id2label") or {}
    labels = [str(names[key]) for key in sorted(names, key=int)]
    if "class_names" in task:
        task = task | {"class_names": labels}
    tied = bool(config.get("tie_word_embeddings")) and task.get("_target_") == LANGUAGE_MODELING

    def weights() -> dict[str, Tensor]:
        tensors = folder.tensors()
        return tensors | ({"head.weight": tensors[EMBEDDING]} if tied else {})

    return Imported(
        name=folder.name,
        label=str((config.get("architectures") or ["UnimodalModel"])[0]),
        field=field if field in nodes else next(iter(nodes)),
        causal=bool(task.get("causal", False)),
        backbone=backbone,
        tokenizers=nodes,
        task=task,
        note=said.get("note", ""),
        weights=weights,
    )


def _section(folder: Folder, key: str) -> Node:
    section = folder.config.get(key)
    if not isinstance(section, dict) or not section:
        raise ValueError(f"{folder.name}/config.json has no {key}, which every model of unimodal has.")
    return section

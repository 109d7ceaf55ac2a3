"""The checkpoint that a run starts from."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from unimodal.hub.folder import is_model_folder, open_folder
from unimodal.hub.imported import Imported
from unimodal.hub.portable.parts import PARTS
from unimodal.hub.reading import read_folder
from unimodal.training import build, checkpoints


@dataclass(frozen=True)
class Origin:
    """The config and plain weights of a checkpoint, or of a Hugging Face folder in our terms.

    Attributes:
        name: as the user named it.
        config: what `checkpoints.load` says of it.
        weights: its state dict, without adapters.
        note: what is prepared otherwise than it was there; empty for nothing.
    """

    name: str
    config: build.Config
    weights: dict[str, Tensor]
    note: str = ""

    @classmethod
    def read(cls, path: str | Path, field: str = "image", config_dirs: Iterable[Path] = ()) -> "Origin":
        """Read a run folder or a `.ckpt`, its adapters (LoRA) merged; or a Hugging Face folder or hub id.

        `field` says which of several models a folder's is meant.
        """
        if is_model_folder(path):
            return cls._of_folder(str(path), field, config_dirs)
        saved, weights = checkpoints.load(path, config_dirs)
        if build.make_finetuning(saved).adds_modules:
            weights = build.restore_task(saved, weights, merged=True).state_dict()
        return cls(str(path), saved, weights)

    @classmethod
    def _of_folder(cls, name: str, field: str, config_dirs: Iterable[Path]) -> "Origin":
        imported = read_imported(name, field, config_dirs)
        main = imported.tokenizers[imported.field]
        sections = {"backbone": imported.backbone, "tokenizer": main, "task": imported.task}
        beside = {key: node for key, node in imported.tokenizers.items() if node is not main}
        data = {"_target_": imported.label}
        note = imported.note if imported.field == field else ""
        return cls(name, {**sections, "beside": beside, "data": data}, imported.weights(), note)

    @property
    def trained_on(self) -> str:
        """Task and data, or the class of a Hugging Face folder, in words."""
        if "." not in self.config["data"]["_target_"]:
            return self.config["data"]["_target_"]
        task, data = (self.config[key]["_target_"].rpartition(".")[2] for key in ("task", "data"))
        return f"{task} on {data}"


def read_imported(name: str, field: str, config_dirs: Iterable[Path] = ()) -> Imported:
    """A Hugging Face folder or hub id; its config names only parts of models, and those of `config_dirs`.

    Raises:
        ValueError: if it can not be read, or names other code.
    """
    imported = read_folder(open_folder(name), field)
    pooling = imported.task.get("pooling") or {}
    for node in (imported.backbone, *imported.tokenizers.values(), pooling):
        checkpoints.check_targets(node, config_dirs, name, PARTS)
    return imported

"""The checkpoint that a run starts from."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from unimodal.hub.folder import is_model_folder, open_folder
from unimodal.hub.native.reading import read_stock
from unimodal.training import build, checkpoints


@dataclass(frozen=True)
class Origin:
    """The config and plain weights of a checkpoint, or of a Hugging Face folder in our terms.

    Attributes:
        name: as the user named it.
        config: what `checkpoints.load` says of it.
        weights: its state dict, without adapters.
    """

    name: str
    config: build.Config
    weights: dict[str, Tensor]

    @classmethod
    def read(cls, path: str | Path, field: str = "image", config_dirs: Iterable[Path] = ()) -> "Origin":
        """Read a run folder or a `.ckpt`, its adapters (LoRA) merged; or a Hugging Face folder or hub id.

        `field` says which of several models a folder's is meant.
        """
        if is_model_folder(path):
            return cls._of_folder(str(path), field)
        saved, weights = checkpoints.load(path, config_dirs)
        if build.make_finetuning(saved).adds_modules:
            weights = build.restore_task(saved, weights, merged=True).state_dict()
        return cls(str(path), saved, weights)

    @classmethod
    def _of_folder(cls, name: str, field: str) -> "Origin":
        stock = read_stock(open_folder(name), field)
        trained = stock.trained()
        data = {"_target_": stock.head.stock or f"{stock.family.name} without a head"}
        sections = {"backbone": trained.backbone, "tokenizer": stock.tokenizer, "task": trained.task}
        return cls(name, {**sections, "data": data}, dict(trained.weights))

    @property
    def trained_on(self) -> str:
        """Task and data, in words."""
        task, data = (self.config[key]["_target_"].rpartition(".")[2] for key in ("task", "data"))
        return f"{task} on {data}"

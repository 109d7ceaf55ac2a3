"""The checkpoint that a run starts from."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from unimodal.hub.folder import is_model_folder, open_folder
from unimodal.hub.imported import Imported
from unimodal.hub.portable.parts import PARTS
from unimodal.hub.reading import read_folder
from unimodal.training import build, checkpoints
from unimodal.training.mix import views, weights_of
from unimodal.training.pretrained.fields import field_of


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
    def read(
        cls, path: str | Path, field: str = "image", config_dirs: Iterable[Path] = (), source: str = ""
    ) -> "Origin":
        """Read a run folder or a `.ckpt`, its adapters (LoRA) merged; or a Hugging Face folder or hub id.

        Args:
            path: of it, or the id.
            field: which of several models is meant.
            config_dirs: as in `checkpoints.load`.
            source: of a joint run, the source that is meant before any other of the field.
        """
        if is_model_folder(path):
            return cls._of_folder(str(path), field, config_dirs)
        saved, weights = checkpoints.load(path, config_dirs)
        if build.make_finetuning(saved).adds_modules:
            weights = build.restore(saved, weights, merged=True).state_dict()
        return cls(str(path), saved, weights)._of(source, field)

    def _of(self, source: str, field: str) -> "Origin":
        """Of a joint run: the source of this name, else the first that reads the field, else the first."""
        sources = views(self.config)
        if not sources:
            return self
        name = source_for(self.config, source, field)
        own = weights_of(name, self.weights)
        return replace(self, name=f"{name} of {self.name}", config=sources[name], weights=own)

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


def source_for(saved: build.Config, source: str, field: str) -> str:
    """Of a joint run: the source of this name, else the first that reads the field, else the first."""
    sources = views(saved)
    reads = [name for name, view in sources.items() if field_of(view["tokenizer"]) == field]
    return source if source in sources else [*reads, *sources][0]


def read_imported(name: str, field: str, config_dirs: Iterable[Path] = ()) -> Imported:
    """A Hugging Face folder or hub id; its config names only parts of models, and those of `config_dirs`.

    Raises:
        ValueError: if it cannot be read, or names other code.
    """
    imported = read_folder(open_folder(name), field)
    pooling = imported.task.get("pooling") or {}
    for node in (imported.backbone, *imported.tokenizers.values(), pooling):
        checkpoints.check_targets(node, config_dirs, name, PARTS)
    return imported

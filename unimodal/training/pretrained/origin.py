"""The checkpoint that a run starts from."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from unimodal.training import build, checkpoints


@dataclass(frozen=True)
class Origin:
    """A checkpoint's config and plain weights.

    Attributes:
        name: as the user named it.
        config: what `checkpoints.load` says of it.
        weights: its state dict, without adapters.
    """

    name: str
    config: build.Config
    weights: dict[str, Tensor]

    @classmethod
    def read(cls, path: str | Path, config_dirs: Iterable[Path] = ()) -> "Origin":
        """Read a run folder or a `.ckpt`; adapters (LoRA) are merged into the weights beside them."""
        saved, weights = checkpoints.load(path, config_dirs)
        if build.make_finetuning(saved).adds_modules:
            weights = build.restore_task(saved, weights, merged=True).state_dict()
        return cls(str(path), saved, weights)

    @property
    def trained_on(self) -> str:
        """Task and data, in words."""
        task, data = (self.config[key]["_target_"].rpartition(".")[2] for key in ("task", "data"))
        return f"{task} on {data}"

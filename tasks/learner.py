"""What Lightning asks of whatever learns, one task or several: optimizer, clipping, sharding."""

from collections.abc import Callable, Mapping
from typing import Any

import lightning as L
import torch
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.utils import clip_grad_norm_

from unimodal.backbone.transformer import Transformer
from unimodal.model import Unimodal


class Learner(L.LightningModule):
    """The part of training that does not depend on what is learned.

    Attributes:
        monitor: the figure that says which checkpoint is best.
        mode: `min` or `max`, which of two such figures is better.
        optimization: from a learner to what `configure_optimizers` returns; set by training.
    """

    monitor: str = "val/loss"
    mode: str = "min"

    def __init__(self) -> None:
        super().__init__()
        self.optimization: Callable[[Learner], Any] | None = None

    @property
    def models(self) -> list[Unimodal]:
        """Tokenizers and backbone of each task."""
        raise NotImplementedError

    @property
    def by_source(self) -> Mapping[str, Any]:
        """The tasks by the name of their source, which is "" where there is one task."""
        raise NotImplementedError

    @property
    def backbones(self) -> list[Transformer]:
        """The transformers of the models, each once."""
        return list({id(model.backbone): model.backbone for model in self.models}.values())

    def samples(self) -> list[str]:
        """A few outputs to look at after validation; none by default."""
        return []

    def configure_optimizers(self) -> Any:
        """The optimizer and schedule that training set."""
        assert self.optimization is not None, "training sets task.optimization before fit"
        return self.optimization(self)

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by the norm over all parameters, also where the optimizer is fused; logs the norm before."""
        if gradient_clip_val:
            norm = clip_grad_norm_(self.parameters(), gradient_clip_val)
            full = norm.full_tensor() if isinstance(norm, torch.distributed.tensor.DTensor) else norm
            self.log("train/grad_norm", full)

    def configure_model(self) -> None:
        """Under FSDP2 (ModelParallelStrategy): shard each block, then the rest."""
        mesh = self.device_mesh
        if mesh is None or isinstance(self, FSDPModule):  # not asked for, or done before
            return
        for block in (block for backbone in self.backbones for block in backbone.blocks):
            fully_shard(block, mesh=mesh["data_parallel"])
        fully_shard(self, mesh=mesh["data_parallel"])

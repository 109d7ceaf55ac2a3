"""The part of a LightningModule that does not depend on the task: optimizer, gradients, sharding.

The gradient of an optimizer step is that of one big batch, however it was split over micro-batches and
processes: the sum of all losses by the sum of all counts.

    micro-batch   backward pass of total / reference          total = the sum over its targets
    step          gradient * reference * processes / count    count of all micro-batches and processes
"""

from collections.abc import Callable, Mapping
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm

from unimodal.backbone.transformer import Transformer
from unimodal.model import Unimodal

NOTHING = 1e-12  # stands for a count of 0: the gradients are then 0 too


class Learner(L.LightningModule):
    """The part of training that does not depend on what is learned.

    Attributes:
        monitor: the metric that decides which checkpoint is best.
        mode: `min` or `max`, which of two values of `monitor` is better.
        metric_modes: `min` or `max` of each validation metric, by name without `val/`.
        optimization: from a learner to what `configure_optimizers` returns; set by training.
    """

    monitor: str = "val/loss"
    mode: str = "min"
    metric_modes: Mapping[str, str] = {}

    def __init__(self) -> None:
        super().__init__()
        self.optimization: Callable[[Learner], Any] | None = None
        self._step_sums: Tensor | None = None  # [2]: total and count of the micro-batches of this step
        self._reference: Tensor | float = 1.0  # a power of two, which changes no digit

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

    @property
    def known_modes(self) -> dict[str, str]:
        """`min` or `max` of each logged metric, by its full name: which of two values is better."""
        modes = {f"val/{name}": mode for name, mode in self.metric_modes.items()}
        return {"val/loss": "min", **modes, "train/loss": "min", self.monitor: self.mode}

    def step_loss(self, total: Tensor, count: Tensor) -> Tensor:
        """Add one micro-batch to the optimizer step.

        Args:
            total: scalar, the sum of the loss over the targets of the micro-batch.
            count: scalar, how many targets these are, or their weight.

        Returns:
            The scalar that `training_step` returns to Lightning.
        """
        sums = torch.stack((total.detach().float(), count.detach().float()))
        self._step_sums = sums if self._step_sums is None else self._step_sums + sums
        accumulate: int = self.trainer.accumulate_grad_batches  # Lightning divides by it
        return total * (accumulate / self._reference)

    def on_train_start(self) -> None:
        """Forget the micro-batches of an earlier run that stopped within a step."""
        self._step_sums = None

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Divide the gradients by the count of the whole step and clip their norm, in one pass.

        Logs the loss of the step, and the norm before clipping.
        """
        scale = self._close_step()
        grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if gradient_clip_val:
            norm = get_total_norm(grads)
            norm = scale * (norm.full_tensor() if isinstance(norm, DTensor) else norm)
            norm = norm / self._loss_scale(optimizer)
            self.log("train/grad_norm", norm)
            scale = scale * (gradient_clip_val / (norm + 1e-6)).clamp_max(1.0)
        torch._foreach_mul_(grads, scale)  # as torch's clip_grads_with_norm_ does

    def _loss_scale(self, optimizer: Any) -> float:
        """Return what the gradients still have to be divided by: fused optimizers do it in their step."""
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)  # of precision=16-mixed
        fused = getattr(optimizer, "_step_supports_amp_scaling", False)
        return scaler.get_scale() if scaler is not None and fused else 1.0

    def _close_step(self) -> Tensor:
        """Return what the gradients of this step have to be multiplied by, a scalar."""
        assert self._step_sums is not None, "training_step returns step_loss(total, count)"
        total, count = self.trainer.strategy.reduce(self._step_sums, reduce_op="sum").unbind()
        count = count.clamp_min(NOTHING)
        self.log("train/loss", total / count, prog_bar=True)
        scale = self._reference * self.trainer.world_size / count  # processes take the mean of gradients
        self._step_sums, self._reference = None, count.clamp_min(1.0).log2().floor().exp2()
        return scale

    def configure_model(self) -> None:
        """Under FSDP2 (ModelParallelStrategy): shard each block, then the rest."""
        mesh = self.device_mesh
        if mesh is None or isinstance(self, FSDPModule):  # not asked for, or done before
            return
        for block in (block for backbone in self.backbones for block in backbone.blocks):
            fully_shard(block, mesh=mesh["data_parallel"])
        fully_shard(self, mesh=mesh["data_parallel"])

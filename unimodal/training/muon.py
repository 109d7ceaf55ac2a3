"""Muon for the hidden matrices, AdamW for everything else, as one optimizer.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) makes the momentum of a matrix
orthogonal before the step, so that all its directions learn equally fast. `torch.optim.Muon` computes this
matrix by matrix in bfloat16; on a CPU without bfloat16 arithmetic a step of the `tiny` backbone then takes 15
times as long as here.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic iteration, as in torch.optim.Muon
EPS = 1e-7


class Muon(torch.optim.AdamW):
    """AdamW, but groups of parameters with `hidden=True` are matrices [fan_out, fan_in] that Muon updates.

    The update of such a matrix has a spectral norm of about `muon_lr * max(1, fan_out / fan_in) ** 0.5`,
    whatever its width, so the best `muon_lr` hardly depends on the width (Bernstein 2025,
    https://jeremybernste.in/writing/deriving-muon).

    Args:
        params: groups of parameters.
        lr: learning rate of AdamW.
        muon_lr: learning rate of Muon.
        momentum: decay of the mean of Muon's gradients, with Nesterov's look ahead.
        num_iterations: Newton-Schulz iterations, each 3 matrix products.
        betas: of AdamW.
        eps: of AdamW.
        weight_decay: of both, each times its own learning rate.
        fused: AdamW's step as one kernel.
    """

    separate_hidden: ClassVar[bool] = True  # asks `parameter_groups` for groups of hidden matrices

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float = 3e-3,
        muon_lr: float = 0.02,
        momentum: float = 0.95,
        num_iterations: int = 5,
        betas: tuple[float, float] = (0.9, 0.98),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        fused: bool | None = None,
    ):
        if not 0 <= momentum < 1:
            raise ValueError(
                f"optimizer.momentum={momentum} is not in [0, 1); set optimizer.momentum to 0.95."
            )
        if num_iterations < 1:
            raise ValueError(f"optimizer.num_iterations={num_iterations} is less than 1; set it to 5.")
        self.momentum, self.num_iterations = momentum, num_iterations
        groups = [{"lr": muon_lr if group.get("hidden") else lr, **group} for group in params]
        super().__init__(groups, lr, (betas[0], betas[1]), eps, weight_decay, fused=fused)
        self._step_supports_amp_scaling = False  # GradScaler divides the gradients before the step

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step with the gradients of all groups; returns what `closure` returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups = self.param_groups
        self.param_groups = [group for group in groups if not group.get("hidden")]
        try:
            super().step()
        finally:
            self.param_groups = groups
        for group in groups:
            if group.get("hidden"):
                self._step_hidden(group)
        return loss

    def _step_hidden(self, group: dict[str, Any]) -> None:
        params = [p for p in group["params"] if p.grad is not None]
        if not params:
            return
        grads = [p.grad for p in params]
        momenta = [self._momentum_of(p) for p in params]
        torch._foreach_lerp_(momenta, grads, 1 - self.momentum)
        updates = orthogonal(torch._foreach_lerp(grads, momenta, self.momentum), self.num_iterations)
        torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        for param, update in zip(params, updates, strict=True):
            fan_out, fan_in = param.shape
            param.add_(update, alpha=-group["lr"] * max(1.0, fan_out / fan_in) ** 0.5)

    def _momentum_of(self, param: Tensor) -> Tensor:
        state = self.state[param]
        if not state:
            zeros = torch.zeros_like(param, memory_format=torch.preserve_format)
            state |= {"step": torch.zeros(()), "momentum_buffer": zeros}  # AdamW's loading expects "step"
        return state["momentum_buffer"]


def orthogonal(matrices: Sequence[Tensor], num_iterations: int = 5) -> list[Tensor]:
    """The nearest matrices with orthogonal rows or columns, roughly: their singular values are 0.7 to 1.2.

    Args:
        matrices: each [M, N]; those of one shape, transposed or not, are computed together.
        num_iterations: Newton-Schulz iterations.
    """
    whole = [m.full_tensor() if isinstance(m, DTensor) else m for m in matrices]
    wide = [m if m.shape[0] <= m.shape[1] else m.mT for m in whole]
    by_shape: dict[torch.Size, list[int]] = defaultdict(list)
    for index, matrix in enumerate(wide):
        by_shape[matrix.shape].append(index)
    results: list[Tensor] = list(wide)
    for indices in by_shape.values():
        together = newton_schulz(torch.stack([wide[index] for index in indices]), num_iterations)
        for index, result in zip(indices, together.unbind(), strict=True):
            results[index] = result
    return [_like(result, matrix) for result, matrix in zip(results, matrices, strict=True)]


def newton_schulz(matrices: Tensor, num_iterations: int) -> Tensor:
    """Move the singular values of matrices [B, M, N], M <= N, towards 1; in bfloat16 on a GPU."""
    a, b, c = COEFFICIENTS
    x = matrices.bfloat16() if matrices.is_cuda else matrices.float()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(EPS)
    for _ in range(num_iterations):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def _like(result: Tensor, matrix: Tensor) -> Tensor:
    """`result` or its transpose in the shape, precision and sharding of `matrix`."""
    result = (result if result.shape == matrix.shape else result.mT).to(matrix.dtype)
    if not isinstance(matrix, DTensor):
        return result
    return distribute_tensor(result, matrix.device_mesh, matrix.placements, src_data_rank=None)

"""Numbers for a sample."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unimodal.tasks.intervals import Floats, Intervals, SampleRows, ordered, ratio, sample_intervals
from unimodal.tasks.objective import Objective, counted
from unimodal.tasks.sums import OwnDtype, widest

SMALLEST_SPREAD = 1e-12  # of the sum of squares: what rounding leaves where all numbers are the same


class Numeric(Objective):
    """`mae` and `rmse` in the data's units and `r2`, each the mean over the numbers, as scikit-learn's.

    Logits are in units of the standard deviation, and so is what the metrics add up: squares of large numbers
    would lose the digits that matter. Labels may be float64: the mean is subtracted before they are rounded,
    so that time stamps a second apart differ.

    Args:
        names: of the numbers.
        mean: of each in training.
        std: of each in training, more than 0.
        entry_loss: from two [B, K] to [B, K].
    """

    metric_modes: Mapping[str, str] = {"mae": "min", "rmse": "min", "r2": "max"}
    mean: Tensor
    std: Tensor

    def __init__(
        self, names: Sequence[str], mean: Sequence[float], std: Sequence[float], entry_loss: nn.Module
    ):
        super().__init__()
        if not len(names) == len(mean) == len(std):
            raise ValueError(f"there are {len(mean)} means and {len(std)} stds for {', '.join(names)}.")
        if not all(one > 0 for one in std):
            raise ValueError(f"target_std={list(std)} must be more than 0.")
        _check_steps(names, mean, std)
        self.names, self.entry_loss = list(names), entry_loss
        self.places = [
            max(0, 2 - math.floor(math.log10(one))) for one in std
        ]  # three digits of std are shown
        self.scale = {"mean": list(mean), "std": list(std)}
        for name, values in self.scale.items():
            self.register_buffer(name, torch.tensor(values, dtype=widest()), persistent=False)
        some = torch.zeros(2, len(names))
        if entry_loss(some, some).shape != some.shape:
            raise ValueError("the loss must be that of each entry; set task.loss.reduction=none.")
        self.errors, self.rows = Errors(len(names)), SampleRows()
        self.last_rows = torch.zeros(0, 1 + 2 * len(names))  # of the last validation

    def fit_targets(self, labels: Tensor) -> Tensor:
        """The labels in units of the standard deviation."""
        return self._standard(labels)

    def loss(self, logits: Tensor, labels: Tensor, share: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Of a row, the mean over its numbers."""
        return self._loss(logits, self._standard(labels), counted(labels))

    def mixed_loss(
        self, logits: Tensor, labels: Tensor, others: Tensor, share: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The target of a mixture is the mixture of the numbers; a row counts where both samples do."""
        own, other = self._standard(labels), self._standard(others)
        standard = own * share[:, None] + other * (1 - share)[:, None]
        return self._loss(logits, standard, counted(labels) & counted(others))

    def _loss(self, logits: Tensor, standard: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        losses = self.entry_loss(logits, standard.to(logits.dtype)).mean(1)
        return torch.where(rows, losses, 0.0).sum(), rows.sum()

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Logits and labels [B, K]."""
        rows, standard = counted(labels), self._standard(labels)
        self.errors.update(logits[rows], standard[rows])
        losses = self.entry_loss(logits, standard.to(logits.dtype)).mean(1)
        self.rows.update(losses[rows], logits[rows], standard[rows])

    def compute(self) -> dict[str, Tensor]:
        """`mae`, `rmse`, `r2`; resets them."""
        mae, rmse, r2 = self.errors.compute()
        self.errors.reset()
        self.last_rows = self.rows.compute().cpu()
        self.rows.reset()
        metrics = {"mae": (mae * self.std).mean(), "rmse": (rmse * self.std).mean(), "r2": r2.mean()}
        return {name: value.float() for name, value in metrics.items()}

    def intervals(self) -> Intervals:
        """Of `loss`, `mae`, `rmse` and `r2`."""
        if not len(self.last_rows):
            return {}
        rows, num, std = torch.from_numpy(ordered(self.last_rows)), len(self.names), self.std.cpu()
        terms = error_terms(rows[:, 1 : 1 + num], rows[:, 1 + num :]).flatten(1).numpy()

        def metrics(weights: Floats) -> dict[str, Floats]:
            sums = torch.from_numpy(weights @ terms).unflatten(1, (5, num))
            mae, rmse, r2 = errors_of(sums)
            means = {"mae": (mae * std).mean(1), "rmse": (rmse * std).mean(1), "r2": r2.mean(1)}
            loss = ratio(weights, rows[:, 0].numpy(), np.ones(len(rows)))
            return {"loss": loss, **{name: value.double().numpy() for name, value in means.items()}}

        return sample_intervals(len(rows), metrics)

    def predict(self, logits: Tensor) -> Tensor:
        """Return the numbers in the data's units, of the logits' dtype."""
        return logits * self.std.to(logits.dtype) + self.mean.to(logits.dtype)

    def answer(self, logits: Tensor, top_k: int) -> list[dict[str, Any]]:
        """One column a number."""
        return [dict(zip(self.names, row, strict=True)) for row in self._exact(logits).tolist()]

    def describe(self, logits: Tensor, labels: Tensor) -> list[str]:
        """Name, label and prediction: `age 31.0 -> 28.4, height 1.820 -> 1.743`."""
        rows = zip(labels.tolist(), self._exact(logits).tolist(), strict=True)
        return [", ".join(map(_described, self.names, self.places, *row)) for row in rows]

    def _standard(self, labels: Tensor) -> Tensor:
        return (labels.to(self.mean.dtype) - self.mean) / self.std

    def _exact(self, logits: Tensor) -> Tensor:
        return logits.to(self.mean.dtype) * self.std + self.mean

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Numeric":
        """Keep mean and std exact when the model is converted, as by `trainer.precision=bf16-true`."""
        super()._apply(fn, recurse)
        for name, values in self.scale.items():
            setattr(self, name, torch.tensor(values, dtype=widest(), device=getattr(self, name).device))
        return self


class Errors(OwnDtype):
    """Mean absolute error, root mean squared error and R2 of each of K numbers, as scikit-learn defines them.

    R2 of numbers that do not vary is 1 if all predictions are right, else 0; of fewer than two samples NaN.
    (torchmetrics takes any sum of squares below 1e-4 for 0, which units of a standard deviation reach.)
    """

    sums: Tensor

    def __init__(self, num: int):
        super().__init__()
        self.add_state("sums", torch.zeros(5, num, dtype=widest()), dist_reduce_fx="sum")

    def update(self, predictions: Tensor, labels: Tensor) -> None:
        """Both [B, K]; all rows count."""
        self.sums += error_terms(predictions.to(self.sums.dtype), labels.to(self.sums.dtype)).sum(0)

    def compute(self) -> tuple[Tensor, Tensor, Tensor]:
        """The three, float32 [K] each."""
        return errors_of(self.sums)


def error_terms(predictions: Tensor, labels: Tensor) -> Tensor:
    """What the metrics add up of each sample: [B, K] and [B, K] -> [B, 5, K]."""
    errors = predictions - labels
    return torch.stack((torch.ones_like(labels), labels, labels**2, errors.abs(), errors**2), 1)


def errors_of(sums: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean absolute error, root mean squared error and R2 of the sums of `error_terms`, [..., 5, K]."""
    num, total, squares, absolute, squared = sums.unbind(-2)
    spread = squares - total**2 / num
    varies = spread > SMALLEST_SPREAD * squares
    constant = (squared == 0).to(squared.dtype) + 0 * squared  # NaN stays
    r2 = torch.where(varies, 1 - squared / spread, constant).masked_fill(num < 2, torch.nan)
    return (absolute / num).float(), (squared / num).sqrt().float(), r2.float()


def _check_steps(names: Sequence[str], mean: Sequence[float], std: Sequence[float]) -> None:
    for name, one, spread in zip(names, mean, std, strict=True):
        if abs(one) * torch.finfo(widest()).eps > spread / 10:
            raise ValueError(
                f"{name} has a mean of {one:g} and a standard deviation of {spread:g}, which "
                f"{widest()} cannot tell apart; subtract a constant from the labels in the data."
            )


def _described(name: str, places: int, number: float, guess: float) -> str:
    return f"{name} {number:.{places}f} -> {guess:.{places}f}"

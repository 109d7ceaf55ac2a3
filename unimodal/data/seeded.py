"""Examples with a seed of their own, for tasks that draw something at random on the device."""

from collections.abc import Sized
from typing import cast

import torch
from torch import Tensor
from torch.utils.data import Dataset

from unimodal.data.sampling import Draw, stable_seed


class Seeded(Dataset):
    """Adds `seed`, int64: in training another one each epoch, in validation always the same.

    It depends on nothing but (seed, epoch, index, repeat), so neither batch size nor number of processes
    matters, and a resumed run draws what an uninterrupted one does.

    Args:
        dataset: examples by draw.
        training: whether epochs differ.
        seed: of the run.
    """

    def __init__(self, dataset: Dataset, training: bool, seed: int = 0):
        self.dataset, self.training, self.seed = dataset, training, seed

    def __len__(self) -> int:
        return len(cast(Sized, self.dataset))

    def __getitem__(self, draw: Draw) -> dict[str, Tensor]:
        when = (draw.epoch + 1, draw.repeat) if self.training else (0, 0)
        return self.dataset[draw] | {"seed": torch.tensor(stable_seed(self.seed, *when, draw.index))}

"""Lightning's view of several sources: one stream of training steps, one validation loader a source."""

from collections.abc import Mapping
from typing import Any

import lightning as L

from unimodal.data.datamodule import DataModule
from unimodal.data.loader import ResumableDataLoader
from unimodal.data.mixture import MixtureLoader, MixtureOrder, NamedLoader, batch_counts
from unimodal.data.sources.joint import JointSource
from unimodal.types import Batch


class JointDataModule(L.LightningDataModule):
    """Mixes the training batches of several data modules; each keeps its own tokenizers, task and loader.

    All processes take the same sources in the same step, so that none waits for a gradient that another does
    not have.

    Args:
        source: of all.
        modules: by the name of their source.
        weights: of each source, see `batch_counts`.
        temperature: see `batch_counts`.
        several: whether a step takes batches of several sources.
        seed: of the order.
    """

    def __init__(
        self,
        source: JointSource,
        modules: Mapping[str, DataModule],
        weights: Mapping[str, float],
        temperature: float = 1.0,
        several: bool = False,
        seed: int = 0,
    ):
        super().__init__()
        self.source, self.modules, self.weights = source, dict(modules), dict(weights)
        self.temperature, self.several, self.seed = temperature, several, seed
        self.train_loader: MixtureLoader | None = None
        self.restored: dict[str, Any] | None = None
        for module in self.modules.values():
            module.in_mixture = True

    @property
    def eval_split(self) -> str:
        """Which split validation reads."""
        return next(iter(self.modules.values())).eval_split

    @eval_split.setter
    def eval_split(self, split: str) -> None:
        for module in self.modules.values():
            module.eval_split = split

    def train_dataloader(self) -> MixtureLoader:
        """The mixture; goes on where a run stopped."""
        trainer: Any = self.trainer
        placed = self._placed().items()
        loaders = {name: _train_loader(name, module) for name, module in placed if self.weights[name]}
        counts = batch_counts(
            {name: len(loader) for name, loader in loaders.items()}, self.weights, self.temperature
        )
        limits = (trainer.limit_train_batches, trainer.overfit_batches > 0) if trainer else ()
        order = MixtureOrder(counts, self.several, self.seed)
        self.train_loader = MixtureLoader(loaders, order, *limits)
        if self.restored is not None:
            self.train_loader.load_state_dict(self.restored)
        return self.train_loader

    def first_batches(self) -> list[dict[str, Batch]]:
        """A small one of each source that is drawn."""
        return [
            {name: batch}
            for name, module in self._placed().items()
            for batch in module.first_batches()
            if self.weights[name]
        ]

    def val_dataloader(self) -> list[NamedLoader]:
        """Everything of each source once, in order."""
        return [NamedLoader(name, module.val_dataloader()) for name, module in self._placed().items()]

    def state_dict(self) -> dict[str, Any]:
        """Where training stands, and what the data was."""
        if self.train_loader is None:
            return {}
        data = {name: module.fingerprint for name, module in self.modules.items()}
        return self.train_loader.state_dict() | {"data": data}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """For the loader that will be asked for.

        Raises:
            ValueError: if the data of a source has changed since.
        """
        for name, module in self.modules.items():
            if state:
                module.check_unchanged(state["data"].get(name, ""), f"mix.{name}.")
        self.restored = state or None

    def _placed(self) -> dict[str, DataModule]:
        """The modules, each knowing which process it is in."""
        for module in self.modules.values():
            module.trainer = self.trainer
        return self.modules


def _train_loader(name: str, module: DataModule) -> ResumableDataLoader:
    try:
        return module.train_dataloader()
    except ValueError as error:  # its keys are those of a run of its own
        said = str(error).replace("loader.", f"mix.{name}.loader.")
        raise ValueError(f"mix.{name}: {said}") from error

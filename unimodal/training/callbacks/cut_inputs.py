"""How many inputs are longer than their tokenizer takes: a line for each split, and a metric."""

import lightning as L
import torch

from unimodal.data.cuts import NOUNS, limit_of
from unimodal.data.datamodule import DataModule
from unimodal.data.joint_datamodule import JointDataModule
from unimodal.training.console import say


class CutInputs(L.Callback):
    """Reports the training inputs that are cut, once: after the first epoch, or where training ends earlier.

    Attributes:
        metrics: `train/num_cut_texts`, `train/num_cut_sounds`; empty where nothing is cut.
    """

    def __init__(self) -> None:
        self.metrics: dict[str, int] | None = None

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Called by Lightning, in every process."""
        if self.metrics is None:
            datamodule = trainer.datamodule  # type: ignore[attr-defined]  # set by a connector
            self.metrics = cut_metrics(trainer, datamodule, "train")

    on_train_end = on_train_epoch_end


def cut_metrics(trainer: L.Trainer, datamodule: DataModule | JointDataModule, split: str) -> dict[str, int]:
    """Say how many inputs of a pass over a split were cut; returns the numbers that are not 0, by name.

    Args:
        trainer: whose processes are counted together.
        datamodule: whose loader of `train`, or else of what was validated, has made its pass.
        split: what it is called.
    """
    joint = isinstance(datamodule, JointDataModule)
    modules = datamodule.modules if isinstance(datamodule, JointDataModule) else {"": datamodule}
    metrics: dict[str, int] = {}
    for source, module in modules.items():
        prefix = f"{split}/{source}/" if joint else f"{split}/"
        num_examples, *nums_cut = _sums(trainer, module, split)
        for (field, noun), num in zip(NOUNS.items(), nums_cut, strict=True):
            if num:
                limit = limit_of(field, module.preprocess["text" if field == "prompt" else field])
                say(cut_line(num, num_examples, noun, limit, prefix.rstrip("/")))
                metrics[f"{prefix}num_cut_{noun}"] = num
    return metrics


def cut_line(num: int, num_all: int, noun: str, limit: str, where: str = "") -> str:
    """One sentence about inputs that are cut."""
    what = f"{num:,} of {num_all:,} {noun} are longer than {limit} and are cut"
    return f"{where}: {what}" * bool(where) or what


def _sums(trainer: L.Trainer, module: DataModule, split: str) -> list[int]:
    """Examples, and those with a cut input of each of NOUNS, in all processes together."""
    loader = module.train_loader if split == "train" else module.eval_loader
    own = [0] * (1 + len(NOUNS))
    if loader is not None:
        own = [loader.num_examples, *(loader.num_cut[field] for field in NOUNS)]
    numbers = torch.tensor(own, dtype=torch.int64, device=trainer.strategy.root_device)
    return [int(number) for number in trainer.strategy.reduce(numbers, reduce_op="sum")]

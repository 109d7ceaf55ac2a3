"""What cannot be exported, said before anything is written."""

import torch

from unimodal.hub.portable.auto import OF_TASK
from unimodal.hub.trained import CAPTIONING, CONTRASTIVE, Node
from unimodal.training import build

WITHOUT_CLASS = (
    "unimodal.tasks.segmentation.Segmentation",
    "unimodal.tasks.sequence_labeling.SequenceLabeling",
)


def check_task(config: build.Config, target: str) -> None:
    """Raise where the head of a task would be lost without a word; `head=false` says that it may be.

    Args:
        config: export.yaml.
        target: the task's class.
    """
    if not config["head"]:
        return
    name = target.rpartition(".")[2]
    if target in WITHOUT_CLASS:
        raise ValueError(
            f"no exported class has a head like that of {name} yet; head=false exports the backbone alone, "
            "where a stock class fits it."
        )
    if target in (CAPTIONING, CONTRASTIVE) and config["only"]:
        raise ValueError(
            f"{name} needs all modalities that it was trained with; leave out modality={config['only']}, or "
            "export the backbone alone with head=false."
        )
    if target in OF_TASK and config["format"] not in ("auto", "portable"):
        raise ValueError(
            f"format={config['format']} has no head like that of {name}; take format=portable, or head=false "
            "for the backbone alone."
        )


def check_numbers(config: build.Config, task: Node) -> None:
    """Raise ValueError if float32, which exported models give, cannot tell a regression's numbers apart.

    Args:
        config: export.yaml.
        task: the run's, with the mean and deviation of each number.
    """
    names, mean, std = (task.get(key, []) for key in ("target_names", "target_mean", "target_std"))
    for name, one, spread in zip(names, mean, std, strict=False):
        if config["head"] and abs(one) * torch.finfo(torch.float32).eps > spread / 10:
            raise ValueError(
                f"{name} has a mean of {one:g} and a standard deviation of {spread:g}, but an exported model "
                "gives float32, which cannot tell them apart; subtract a constant from the labels and train "
                "again, or export the backbone with head=false."
            )

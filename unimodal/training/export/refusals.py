"""What cannot be exported, said before anything is written."""

from unimodal.hub.portable.auto import OF_TASK
from unimodal.hub.trained import CAPTIONING, CONTRASTIVE
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

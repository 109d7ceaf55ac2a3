"""What all ways of fine-tuning share: which parameters learn, how fast, and from which epoch on."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import ClassVar

from torch import nn

from unimodal.tasks.learner import Learner
from unimodal.training.mix import within_task

BACKBONE, TOKENIZERS = "model.backbone.", "model.tokenizers."
BLOCK = re.compile(r"model\.backbone\.blocks\.(\d+)\.")


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """Says which parameters learn. A subclass writes `trains`; `inject` and `merge` if it adds modules.

    Attributes:
        layer_decay: the learning rate of a block over that of the one after it; 1 for one rate everywhere
            (Clark et al. 2020, ELECTRA, arXiv 2003.10555).
        freeze: patterns of parameter names that do not learn, such as `model.backbone.blocks.0.*`.
        frozen_epochs: for so many epochs at the start the backbone does not learn.
        resize_vocabulary: keep a vocabulary other than the checkpoint's, with the rows of common tokens.
        fresh: names of the parameters that the checkpoint did not have; they learn whatever the rest does, at
            the full rate. Filled in by training.
    """

    needs_pretrained: ClassVar[bool] = True
    adds_modules: ClassVar[bool] = False

    layer_decay: float = 1.0
    freeze: Sequence[str] = ()
    frozen_epochs: int = 0
    resize_vocabulary: bool = False
    fresh: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"finetune.layer_decay={self.layer_decay} is not more than 0 and at most 1.")
        if self.frozen_epochs < 0:
            raise ValueError(f"finetune.frozen_epochs={self.frozen_epochs} is below 0.")

    @property
    def name(self) -> str:
        """The option's name."""
        return type(self).__name__.lower()

    def trains(self, name: str, depth: int) -> bool:
        """Whether a parameter that the checkpoint had learns; `depth` is the number of blocks."""
        raise NotImplementedError

    def inject(self, task: Learner) -> None:
        """Add the modules that the trained model has more than a fresh one; none by default."""

    def merge(self, task: Learner) -> None:
        """Fold added modules into plain weights."""

    def apply(self, task: Learner) -> None:
        """Add modules, then freeze all that does not learn.

        Raises:
            ValueError: if a pattern of `freeze` matches nothing, or nothing is left to learn.
        """
        self.inject(task)
        depth, fresh = len(task.backbones[0].blocks), set(self.fresh)
        named = list(task.named_parameters(remove_duplicate=False))  # a shared one has several names
        frozen = _matching(self.freeze, [name for name, _ in named])
        held = {id(p) for name, p in named if name in frozen}
        learns = {id(p) for name, p in named if name in fresh or self.trains(within_task(name), depth)} - held
        for _, parameter in named:
            if id(parameter) not in learns:
                parameter.requires_grad_(False)
        if not any(parameter.requires_grad for _, parameter in named):
            raise ValueError("finetune.freeze leaves nothing to train.")

    def rate(self, name: str, depth: int) -> float:
        """The learning rate of a parameter over that of the head: each layer below has `layer_decay` of it.

        The final norm has the head's, the tokenizer that of a block below the first.
        """
        fresh, name = name in self.fresh, within_task(name)
        below_head = name.startswith((BACKBONE, TOKENIZERS)) and not name.startswith(f"{BACKBONE}norm.")
        if not below_head or fresh:
            return 1.0
        block = BLOCK.match(name)
        return self.layer_decay ** (depth - int(block[1]) if block else depth + 1)

    def waits(self, name: str) -> bool:
        """Whether a parameter does not learn during `frozen_epochs`."""
        return self.frozen_epochs > 0 and within_task(name).startswith(BACKBONE)


@dataclass(frozen=True, kw_only=True)
class PartialTuning(FineTuning):
    """The head learns, the backbone only where `trains_in_backbone` says so.

    Attributes:
        train_tokenizer: the tokenizer learns too; what the checkpoint did not have of it learns anyway.
    """

    train_tokenizer: bool = False

    def trains_in_backbone(self, name: str, depth: int) -> bool:
        """Whether a parameter of the backbone learns."""
        raise NotImplementedError

    def trains(self, name: str, depth: int) -> bool:
        """All but backbone and tokenizer, and what the subclass adds."""
        if name.startswith(TOKENIZERS):
            return self.train_tokenizer
        return not name.startswith(BACKBONE) or self.trains_in_backbone(name, depth)


def trained_share(module: nn.Module) -> tuple[int, int]:
    """How many parameters learn, and how many there are."""
    sizes = [(p.numel(), p.requires_grad) for p in module.parameters()]
    return sum(size for size, learns in sizes if learns), sum(size for size, _ in sizes)


def _matching(patterns: Iterable[str], names: Sequence[str]) -> set[str]:
    matched: set[str] = set()
    for pattern in patterns:
        found = {name for name in names if fnmatchcase(name, pattern)}
        if not found:
            near = get_close_matches(pattern, names, n=3, cutoff=0.4) or names[:3]
            raise ValueError(
                f"finetune.freeze={pattern} matches no parameter; there are {', '.join(near)} and others."
            )
        matched |= found
    return matched

"""Low-rank adapters beside frozen weights (Hu et al. 2021, LoRA, arXiv 2106.09685), through peft."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import ClassVar

from torch import nn

from unimodal.backbone.transformer import Transformer
from unimodal.tasks.learner import Learner
from unimodal.training.finetune.base import PartialTuning

BASE = ".base_layer."  # within the name of a wrapped layer's own weights
LAYER = re.compile(r"model\.backbone\.(?P<layer>.+)\.lora_(?P<side>[AB])\.default\.weight$")


@dataclass(frozen=True, kw_only=True)
class LoRA(PartialTuning):
    """Adapters in the backbone and the head learn. At first the adapters change nothing.

    Attributes:
        r: rank of an adapter.
        alpha: an adapter's output is multiplied by alpha / r.
        dropout: of an adapter's input.
        target_modules: names of the backbone's linear layers that have one, of `query`, `key`, `value`,
            `out`, `gate`, `up`, `down`.
    """

    adds_modules: ClassVar[bool] = True

    r: int = 8
    alpha: float = 16
    dropout: float = 0.0
    target_modules: Sequence[str] = ("query", "value")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.r < 1:
            raise ValueError(f"finetune.r={self.r} must be at least 1.")
        if not self.target_modules:
            raise ValueError("finetune.target_modules is empty; name linear layers such as query, value.")
        if find_spec("peft") is None:
            raise ValueError("finetune=lora needs peft: pip install 'unimodal[lora]'")

    def trains_in_backbone(self, name: str, depth: int) -> bool:
        """The adapters."""
        return ".lora_" in name

    def inject(self, task: Learner) -> None:
        """Wrap the target layers in place; their weights are then called `base_layer`.

        Raises:
            ValueError: if the backbone has no linear layer of a name.
        """
        for backbone in task.backbones:
            self._wrap(backbone)

    def _wrap(self, backbone: Transformer) -> None:
        from peft import LoraConfig, inject_adapter_in_model

        there = {n.rpartition(".")[2] for n, m in backbone.named_modules() if isinstance(m, nn.Linear)}
        unknown = [name for name in self.target_modules if name not in there]
        if unknown:
            raise ValueError(
                f"finetune.target_modules: no linear layer is called {', '.join(unknown)}; "
                f"there are {', '.join(sorted(there))}."
            )
        config = LoraConfig(
            r=self.r,
            lora_alpha=self.alpha,  # type: ignore[arg-type]  # only multiplied
            lora_dropout=self.dropout,
            target_modules=list(self.target_modules),
        )
        inject_adapter_in_model(config, backbone)

    def merge(self, task: Learner) -> None:
        """Add each adapter to the weight beside it, and take it away."""
        from peft.tuners.lora import LoraLayer

        for backbone in task.backbones:
            for name, module in list(backbone.named_modules()):
                if isinstance(module, LoraLayer):
                    module.merge()
                    backbone.set_submodule(name, module.get_base_layer())

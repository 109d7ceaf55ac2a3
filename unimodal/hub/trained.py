"""A trained model as plain data: what export writes and import reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

CLASSIFICATION = "unimodal.tasks.classification.Classification"
REGRESSION = "unimodal.tasks.regression.Regression"
LANGUAGE_MODELING = "unimodal.tasks.language_modeling.LanguageModeling"
CAPTIONING = "unimodal.tasks.captioning.Captioning"
CTC = "unimodal.tasks.ctc.CTC"
CONTRASTIVE = "unimodal.tasks.contrastive.Contrastive"

Node = dict[str, Any]
"""What a yaml says of one object: `_target_`, the class, and its arguments, plain values throughout."""


@dataclass(frozen=True)
class Trained:
    """Everything that the model is, and nothing of how it was trained.

    Attributes:
        backbone: the transformer's node, its `block` inside.
        tokenizers: their nodes by the field that each reads: image, audio, video, text.
        task: the node of the head and objective, class names filled in.
        weights: by the names of the task's state dict: `model.backbone.blocks.0...`,
            `model.tokenizers.image...`, `head.weight`.
    """

    backbone: Node
    tokenizers: dict[str, Node]
    task: Node
    weights: Mapping[str, Tensor]

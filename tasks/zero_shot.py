"""Classes by their names alone: the closest of the names' vectors (CLIP, arXiv 2103.00020)."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unimodal.data.collate import collate
from unimodal.model import Unimodal
from unimodal.tasks.classification import Classification

PROMPTS = 64  # read at a time


class SimilarityHead(nn.Module):
    """From pooled tokens [B, D] to the scaled similarity with each class, [B, C].

    Args:
        projection: into the space of the classes.
        classes: unit vectors [C, P].
        scale: of the similarities.
    """

    classes: Tensor

    def __init__(self, projection: nn.Module, classes: Tensor, scale: float):
        super().__init__()
        self.projection, self.scale = projection, scale
        self.register_buffer("classes", classes)

    def forward(self, pooled: Tensor) -> Tensor:
        """[B, D] -> [B, C]."""
        vectors = F.normalize(self.projection(pooled).float(), dim=-1)
        return self.scale * vectors @ self.classes.T


def zero_shot(paired: Any, class_names: Sequence[str], templates: Sequence[str]) -> Classification:
    """A classifier of the other modality from a `Contrastive` that reads text; nothing is learned.

    A class is the mean of the vectors of its name in each template.

    Raises:
        ValueError: if the model does not read text, or there are not two different names.
    """
    names = [str(name) for name in class_names]
    if "text" not in paired.fields:
        raise ValueError(f"class names are text, which this model does not read; it reads {paired.fields}.")
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"class_names={names} must be two or more, all different.")
    check_templates(templates)
    [field] = [field for field in paired.fields if field != "text"]
    model = Unimodal({field: paired.model.tokenizers[field]}, paired.model.backbone)
    task = Classification(model, names, paired.pooling)
    scale = float(paired.contrast.scale.detach())
    head: Any = SimilarityHead(paired.projections[field], class_vectors(paired, names, templates), scale)
    task.head = head
    return task


@torch.no_grad()
def class_vectors(paired: Any, class_names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Of each class, unit vectors [C, P]."""
    preprocess, device = paired.model.tokenizers["text"].preprocess, paired.contrast.log_scale.device
    prompts = [template.replace("{}", name) for name in class_names for template in templates]
    vectors = []
    for start in range(0, len(prompts), PROMPTS):
        batch = collate([preprocess({"text": prompt}) for prompt in prompts[start : start + PROMPTS]])
        vectors.append(paired.project("text", {key: value.to(device) for key, value in batch.items()}))
    return F.normalize(torch.cat(vectors).unflatten(0, (len(class_names), -1)).mean(1), dim=-1)


def check_templates(templates: Sequence[str]) -> None:
    """Raise for a template without a place for the name."""
    wrong = [template for template in templates if "{}" not in template]
    if wrong or not templates:
        raise ValueError(f"templates={list(templates)}: each must hold {{}}, where the class name goes.")

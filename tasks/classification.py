"""Which class, or which classes, a whole sample belongs to."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from unimodal.data.sources.base import shown
from unimodal.model import Unimodal
from unimodal.tasks.multi_label import MultiLabel
from unimodal.tasks.objective import Objective
from unimodal.tasks.pooled import PooledTask, prefix_sizes
from unimodal.tasks.regularisation import Regularisation
from unimodal.tasks.single_label import SingleLabel


class Classification(PooledTask):
    """One logit a class; cross-entropy, or binary cross-entropy where several classes may apply.

    Args:
        model: tokenizers and backbone.
        class_names: of the labels 0, 1, 2, ..., or of the columns of a multi-label.
        pooling: from tokens [B, N, D] to vectors [B, D].
        multilabel: labels are float [B, C], 1 for each class that applies, instead of int [B].
        class_weights: of each class in the loss, or None; see `SingleLabel` and `MultiLabel`.
        label_smoothing: share of a single label that is spread over all classes, in training.
        head_norm: a LayerNorm before the linear layer.
        causal: read the sample with causal attention, as a language model does.
        head_bias: of the linear layer; stock language models that classify have none.
        head_norm_eps: epsilon of the norm; AST's is the block's.
        mixup: alpha of the Beta distribution by which two samples are blended in training; 0: off.
        cutmix: likewise, for the share of the tokens that another sample replaces; 0: off.
        token_dropout: share of the tokens that are left out in training.
        head_dropout: probability of each channel of the pooled vector to be zero in training.
    """

    def __init__(
        self,
        model: Unimodal,
        class_names: Sequence[str],
        pooling: nn.Module,
        multilabel: bool = False,
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        head_norm: bool = False,
        causal: bool = False,
        head_bias: bool = True,
        head_norm_eps: float = 1e-5,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        token_dropout: float = 0.0,
        head_dropout: float = 0.0,
    ):
        if len(class_names) < 2:
            raise ValueError(f"classification needs two classes or more; the data has {list(class_names)}.")
        _check_weights(class_weights, class_names)
        objective: Objective = (
            MultiLabel(class_names, class_weights)
            if multilabel
            else SingleLabel(class_names, class_weights, label_smoothing)
        )
        regularisation = Regularisation(mixup, cutmix, token_dropout, head_dropout, prefix_sizes(model))
        super().__init__(
            model,
            objective,
            len(class_names),
            pooling,
            head_norm,
            causal,
            head_bias,
            head_norm_eps,
            regularisation,
        )
        self.class_names, self.multilabel = list(class_names), multilabel

    def probabilities(self, logits: Tensor) -> Tensor:
        """Of each class, [B, C] -> [B, C]; they sum to 1 unless several classes may apply."""
        return self.objective.predict(logits)


def _check_weights(weights: Sequence[float] | None, class_names: Sequence[str]) -> None:
    if weights is None:
        return
    if len(weights) != len(class_names):
        names = shown(class_names, 10)
        raise ValueError(f"there are {len(weights)} class_weights for {len(class_names)} classes: {names}.")
    if not all(weight >= 0 and math.isfinite(weight) for weight in weights) or not any(weights):
        raise ValueError(f"class_weights={list(weights)} must be 0 or more, and one of them more.")

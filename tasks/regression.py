"""Numbers that a whole sample has, such as an age or a price."""

from collections.abc import Sequence

from torch import Tensor, nn

from unimodal.model import Unimodal
from unimodal.tasks.numeric import Numeric
from unimodal.tasks.pooled import PooledTask, prefix_sizes
from unimodal.tasks.regularisation import Regularisation
from unimodal.types import Batch


class Regression(PooledTask):
    """One output a number, learned in units of the training data's standard deviation.

    Args:
        model: tokenizers and backbone.
        target_names: of the columns of the labels, float [B, K].
        target_mean: of each number in training.
        target_std: of each number in training, more than 0.
        pooling: from tokens [B, N, D] to vectors [B, D].
        loss: from two [B, K] to the loss of each entry [B, K], such as `nn.HuberLoss(reduction="none")`.
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
        target_names: Sequence[str],
        target_mean: Sequence[float],
        target_std: Sequence[float],
        pooling: nn.Module,
        loss: nn.Module,
        head_norm: bool = False,
        causal: bool = False,
        head_bias: bool = True,
        head_norm_eps: float = 1e-5,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        token_dropout: float = 0.0,
        head_dropout: float = 0.0,
    ):
        objective = Numeric(target_names, target_mean, target_std, loss)
        regularisation = Regularisation(mixup, cutmix, token_dropout, head_dropout, prefix_sizes(model))
        super().__init__(
            model,
            objective,
            len(target_names),
            pooling,
            head_norm,
            causal,
            head_bias,
            head_norm_eps,
            regularisation,
        )
        self.target_names = list(target_names)

    def outputs(self, batch: Batch) -> Tensor:
        """The numbers in the data's units, [B, K]."""
        return self.predict(super().outputs(batch))

    def predict(self, logits: Tensor) -> Tensor:
        """The numbers in the data's units, [B, K] -> [B, K]."""
        return self.objective.predict(logits)

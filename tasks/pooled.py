"""The base of tasks that predict something of a whole sample, of any modality."""

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any

from torch import Tensor, nn
from torch.utils.data import Dataset
from torchmetrics import Metric

from unimodal.data.examples import Examples, label_of
from unimodal.data.seeded import Seeded
from unimodal.model import Unimodal
from unimodal.tasks.base import Output, Task
from unimodal.tasks.intervals import Intervals
from unimodal.tasks.objective import Objective, counted
from unimodal.tasks.regularisation import Regularisation, partners
from unimodal.types import Batch, TokenSequence

NUM_SHOWN = 8


class PooledTask(Task):
    """Pool the encoded tokens, then one linear layer, zero at first; the objective says what it means.

    Args:
        model: tokenizers and backbone.
        objective: loss, figures and words.
        num_outputs: of the linear layer.
        pooling: from tokens [B, N, D] to vectors [B, D], or [B, num_vectors * D] where it has `num_vectors`.
        head_norm: a LayerNorm before the linear layer.
        causal: read the sample with causal attention, as a language model does.
        head_bias: of the linear layer; stock language models that classify have none.
        head_norm_eps: epsilon of that norm; AST's is the block's.
        regularisation: of tokens and vectors in training; None: none.
    """

    takes_parts = True
    labels_samples = True

    def __init__(
        self,
        model: Unimodal,
        objective: Objective,
        num_outputs: int,
        pooling: nn.Module,
        head_norm: bool = False,
        causal: bool = False,
        head_bias: bool = True,
        head_norm_eps: float = 1e-5,
        regularisation: Regularisation | None = None,
    ):
        super().__init__(model)
        self.regularisation = regularisation or Regularisation()
        self.objective, self.pooling, self.causal = objective, pooling, causal
        self.monitor, self.mode = objective.monitor, objective.mode
        self.metric_modes = objective.metric_modes
        dim = model.backbone.dim * getattr(pooling, "num_vectors", 1)
        self.head_norm = nn.LayerNorm(dim, head_norm_eps) if head_norm else nn.Identity()
        self.head = nn.Linear(dim, num_outputs, bias=head_bias)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    @staticmethod
    def examples(
        samples: Any,
        preprocess: Mapping[str, Any],
        training: bool,
        augment: Callable | None = None,
        seed: int = 0,
    ) -> Dataset:
        """Tensors of each sample with its label, in training with a seed for regularisation too."""
        examples = Examples(samples, preprocess, augment, seed, label_of)
        return Seeded(examples, training, seed) if training else examples

    def forward(self, batch: Batch) -> Output:
        """`labels` int [B] or float [B, C or K]; logits [B, C or K]. Regularisation needs `seed` int [B]."""
        if self.training and self.regularisation.active:
            return self._regularised(batch)
        tokens = self.encode(batch)
        logits = self._logits(self.pooling(tokens))
        return _output(*self.objective.loss(logits, batch["labels"]), logits, tokens)

    def _regularised(self, batch: Batch) -> Output:
        if "parts" in batch and self.regularisation.needs_order:
            raise ValueError(
                "samples of several parts in any order cannot be mixed, and token dropout cannot spare the "
                "prefix tokens of each part; set task.mixup=0 and task.cutmix=0, and task.token_dropout=0 "
                "or num_prefix_tokens=0."
            )
        seeds, labels = batch["seed"], batch["labels"]
        read, share = self.regularisation.tokens(self.model.embed(batch), seeds)
        tokens = self.model.backbone(read, causal=self.causal, rows=batch.get("rows"))
        logits = self._logits(self.regularisation.vectors(self.pooling(tokens), seeds))
        if share is None:
            return _output(*self.objective.loss(logits, labels), logits, tokens)
        return _output(*self.objective.mixed_loss(logits, labels, partners(labels), share), logits, tokens)

    def vectors(self, batch: Batch) -> Tensor:
        """Return the pooled tokens, [B, num_vectors * D]."""
        return self.pooling(self.encode(batch))

    def outputs(self, batch: Batch) -> Tensor:
        """The logits, [B, C or K]."""
        return self._logits(self.vectors(batch))

    def answer(self, batch: Batch, top_k: int = 1) -> list[dict[str, Any]]:
        """What the objective says of each sample; needs no labels."""
        return self.objective.answer(self._logits(self.vectors(batch)), top_k)

    def _logits(self, vectors: Tensor) -> Tensor:
        return self.head(self.head_norm(vectors)).float()

    def update_metrics(self, output: Output, batch: Batch) -> None:
        """The objective's figures; keeps the first batch to show."""
        self.objective.update(output.logits, batch["labels"])
        if not self.shown:
            self.shown = self._describe(output.logits, batch["labels"])

    def compute_metrics(self) -> dict[str, Tensor]:
        """The objective's figures."""
        return self.objective.compute()

    def fit_targets(self, labels: Tensor) -> Tensor:
        """Return the targets of the objective."""
        return self.objective.fit_targets(labels)

    def metrics_of(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The objective's, of this process alone; those of the validation so far stay."""
        objective = deepcopy(self.objective)
        for metric in (one for one in objective.modules() if isinstance(one, Metric)):
            metric.sync_on_compute = False
            metric.reset()
        objective.update(logits, labels)
        return objective.compute()

    def intervals(self) -> Intervals:
        """Return the intervals of the objective."""
        return self.objective.intervals()

    def _describe(self, logits: Tensor, labels: Tensor) -> list[str]:
        rows = counted(labels)
        return self.objective.describe(logits[rows][:NUM_SHOWN], labels[rows][:NUM_SHOWN])


def _output(total: Tensor, count: Tensor, logits: Tensor, tokens: TokenSequence) -> Output:
    return Output(total / count.clamp_min(1e-12), count, logits, tokens)  # no row counts: 0 / 1e-12


def prefix_sizes(model: Unimodal) -> list[int]:
    """The number of prefix tokens of each tokenizer."""
    tokenizers: Iterable[Any] = model.tokenizers.values()
    return [tokenizer.num_prefix_tokens for tokenizer in tokenizers]

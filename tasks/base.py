"""What all tasks share: the steps that Lightning calls, and the logged loss."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from unimodal.model import Unimodal
from unimodal.tasks.intervals import Intervals
from unimodal.tasks.learner import Learner
from unimodal.tasks.pooling import MeanPooling
from unimodal.tasks.sums import Mean, Sum
from unimodal.types import IGNORED, Batch, TokenSequence


@dataclass(frozen=True)
class Output:
    """What a task makes of a batch.

    Attributes:
        loss: scalar, the mean over counted targets, 0 where there is none.
        count: scalar, how many targets count, or what they weigh together.
        logits: the head's output.
        tokens: the encoded sequence.
    """

    loss: Tensor
    count: Tensor
    logits: Tensor
    tokens: TokenSequence


class Task(Learner):
    """A head and an objective on the shared model. A subclass writes `examples`, `forward` and its metrics.

    Attributes:
        generates: whether the task answers a text by continuing it (`complete`).
        causal: a token sees only what stands before it.
        shown: lines to look at after validation.
        separate: each of its modalities can be asked about alone.
        takes_parts: a sample may lack some modalities, or have several parts of one.
        labels_samples: a sample as a whole has one label, which `fit_targets` and `metrics_of` take.
    """

    generates: bool = False
    causal: bool = False
    separate: bool = False
    takes_parts: bool = False
    labels_samples: bool = False

    def __init__(self, model: Unimodal):
        super().__init__()
        self.model, self.val_loss, self.val_samples = model, Mean(), Sum()
        self.shown: list[str] = []

    @property
    def preprocess(self) -> dict[str, Any]:
        """By the sample's field, what data workers do to it: each tokenizer's, and what targets need."""
        tokenizers: Mapping[str, Any] = self.model.tokenizers  # type: ignore[assignment]
        return {name: tokenizer.preprocess for name, tokenizer in tokenizers.items()}

    @property
    def asks(self) -> Sequence[str]:
        """The fields of a sample that `answer` reads; by default all that the model does."""
        return list(self.model.tokenizers)

    @property
    def by_source(self) -> dict[str, "Task"]:
        """The task itself."""
        return {"": self}

    @property
    def asked(self) -> dict[str, Any]:
        """By field, what is done to what `predict` is given; what `asks` does not name may be missing."""
        return {field: self.preprocess[field] for field in self.asks}

    @property
    def models(self) -> list[Unimodal]:
        """The one."""
        return [self.model]

    @staticmethod
    def examples(
        samples: Any,
        preprocess: Mapping[str, Any],
        training: bool,
        augment: Callable | None = None,
        seed: int = 0,
    ) -> Dataset:
        """What the task learns from: tensors with `labels`, -100 = ignored. The dataset holds no weights."""
        raise NotImplementedError

    def forward(self, batch: Batch) -> Output:
        """Encode the batch, apply head and objective."""
        raise NotImplementedError

    def update_metrics(self, output: Output, batch: Batch) -> None:
        """Take one validation batch into account."""

    def compute_metrics(self) -> dict[str, Tensor]:
        """The figures of the whole validation, by name without `val/`; resets them."""
        return {}

    def fit_targets(self, labels: Tensor) -> Tensor:
        """What the logits of another model are fitted to, from labels; only where `labels_samples`."""
        raise NotImplementedError

    def metrics_of(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The metrics, by name, that another model's logits would have; only where `labels_samples`."""
        raise NotImplementedError

    def touch(self) -> Tensor | float:
        """Zero, through every tokenizer: under FSDP2 all processes must have the same gradients.

        A batch may lack a modality in one process and not in another. DDP finds that out by itself. Where
        all lack it, a zero gradient still lets an optimizer's momentum go on, which none would not.
        """
        if len(self.model.tokenizers) < 2:
            return 0.0
        parameters = (p for p in self.model.tokenizers.parameters() if p.requires_grad)
        return sum((0 * p.flatten()[0] for p in parameters), torch.zeros((), device=self.device))

    def count(self, batch: Batch) -> None:
        """Take one validation batch into account."""
        output = self(batch)
        self.val_samples.update(num_counted(batch))
        self.val_loss.update(output.loss, output.count)
        self.update_metrics(output, batch)

    def figures(self) -> dict[str, Tensor]:
        """Return the loss and the metrics of the whole validation and of how many samples; resets them."""
        figures = {"loss": self.val_loss.compute(), **self.compute_metrics()}
        figures["num_samples"] = self.val_samples.compute()
        self.val_loss.reset()
        self.val_samples.reset()
        return figures

    def intervals(self) -> Intervals:
        """The 95% bootstrap intervals of the metrics of the last validation, by name; by default of none."""
        return {}

    def encode(self, batch: Batch) -> TokenSequence:
        """The tokens as the task reads them, [B, N, D]."""
        return self.model(batch, causal=self.causal)

    def vectors(self, batch: Batch) -> Tensor:
        """One vector a sample, [B, D]; by default the mean of its tokens."""
        return MeanPooling()(self.encode(batch))

    def outputs(self, batch: Batch) -> Tensor:
        """What an exported model gives for a batch without labels; by default its tokens, [B, N, D]."""
        return self.encode(batch).embeds

    def complete(self, prompts: list[str], max_new_tokens: int, seed: int = 0) -> list[str]:
        """Continue each prompt; only where the task `generates`."""
        raise NotImplementedError

    def answer(self, batch: Batch, top_k: int = 1) -> list[dict[str, Any]]:
        """What a user is told of each sample of a batch without labels, by column.

        Raises:
            ValueError: if the task only learns, as most pretraining does.
        """
        raise ValueError(f"{type(self).__name__} has no answers; embeddings=true writes vectors.")

    def zero_shot(self, class_names: Sequence[str], templates: Sequence[str] | None = None) -> "Task":
        """A task that tells apart classes which only their names describe.

        Args:
            class_names: two or more.
            templates: what text a name becomes, `{}` standing for it; None: the task's own.

        Raises:
            ValueError: if the task cannot, as most.
        """
        raise ValueError(
            f"{type(self).__name__} knows only what it was trained for; classes by their names alone "
            "(class_names, zero_shot) are for runs of task=contrastive."
        )

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """One step; beside the loss, how much was read."""
        output = self(batch)
        loss = self.step_loss(output.loss * output.count, output.count)
        loss = loss if self.device_mesh is None else loss + self.touch()
        num_samples = len(output.tokens.mask)
        return {"loss": loss, "num_samples": num_samples, "num_tokens": num_computed(output, batch)}

    def on_validation_epoch_start(self) -> None:
        """What an earlier validation left to show is old."""
        self.shown = []

    def samples(self) -> list[str]:
        """What `update_metrics` left in `shown`, a few lines on the first validation examples; once."""
        shown, self.shown = self.shown, []
        return shown

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count one batch; sums, so that neither batch size nor number of processes matters."""
        self.count(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the figures of the whole validation."""
        for name, value in self.figures().items():
            self.log(f"val/{name}", value, prog_bar=f"val/{name}" == self.monitor)


def num_computed(output: Output, batch: Batch) -> int:
    """How many tokens the backbone computed, padding too; packed rows have almost none."""
    mask = output.tokens.mask
    return int(mask.sum()) if "rows" in batch else mask.numel()


def num_counted(batch: Batch) -> int:
    """Return how many samples of a batch count: not those that fill up the last batch of a process."""
    if "counted" in batch:
        return int(batch["counted"].sum())
    if "labels" in batch:
        return int((batch["labels"] != IGNORED).reshape(len(batch["labels"]), -1).any(1).sum())
    return len(next(iter(batch.values())))


def check_own_place(tokenizer: Any, task: str) -> None:
    """Raise ValueError for a tokenizer whose tokens show the neighbours that `task` has to predict."""
    if tokenizer.sees_neighbours:
        raise ValueError(
            f"{task} predicts tokens that {type(tokenizer).__name__} shows to their neighbours; choose "
            "tokenizer=text_bpe, text_byte or text_character."
        )

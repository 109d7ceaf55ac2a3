"""Which class each word of a text, or each moment of a sound, belongs to."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from unimodal.data.collate import MASK_OF
from unimodal.data.examples import Examples
from unimodal.model import Unimodal
from unimodal.tasks.base import Output, Task
from unimodal.tasks.frame_labels import FrameLabels
from unimodal.tasks.span_scores import OUTSIDE, SpanScores, are_span_tags
from unimodal.tasks.sums import ClassCounts, decided, mean
from unimodal.tasks.word_labels import KeptText, WordLabels, texts_of
from unimodal.types import IGNORED, Batch, TokenSequence

NUM_SHOWN = 4


class SequenceLabeling(Task):
    """A linear layer on each token, zero at first; cross-entropy of the tokens that count.

    Of a text the first token of each word counts, of a sound every token, by the middle of its time. Figures
    are `accuracy` of these tokens and `f1`: where tags say spans (B-PER, I-PER, O) of whole spans, with
    `precision` and `recall`, see `SpanScores`; else of tokens, the mean over all classes but O.

    Args:
        model: whose one tokenizer reads text, or sound as tokens in a row.
        class_names: of the labels; O is what lies outside.
        causal: a token sees only what stands before it.
    """

    monitor = "val/f1"
    mode = "max"
    metric_modes: Mapping[str, str] = dict.fromkeys(("f1", "precision", "recall", "accuracy"), "max")

    def __init__(self, model: Unimodal, class_names: Sequence[str], causal: bool = False):
        super().__init__(model)
        if len(class_names) < 2:
            raise ValueError(
                f"sequence labeling needs two classes or more; the data has {list(class_names)}."
            )
        self.class_names, self.causal = list(class_names), causal
        self.labels = _make_labels(model, self.class_names)
        self.head = nn.Linear(model.backbone.dim, len(class_names))
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)
        self.class_counts = ClassCounts(len(class_names))
        self.span_scores = SpanScores() if are_span_tags(class_names) else None

    @property
    def preprocess(self) -> dict[str, Any]:
        """The tokenizer's, which of a text keeps the text itself, and that of the labels."""
        fields = super().preprocess
        if "text" in fields:
            fields["text"] = KeptText(**vars(fields["text"]))
        return fields | {"spans": self.labels}

    @staticmethod
    def examples(
        samples: Any,
        preprocess: Mapping[str, Any],
        training: bool,
        augment: Callable | None = None,
        seed: int = 0,
    ) -> Dataset:
        """Tensors of each sample with a label for each token."""
        inputs = {field: one for field, one in preprocess.items() if field != "spans"}
        return Examples(samples, inputs, augment, seed, preprocess["spans"])

    def forward(self, batch: Batch) -> Output:
        """`labels` int [B, about N]; logits [B, N, C] of the tokens without prefix."""
        tokens = self.encode(batch)
        logits = self._logits(tokens.embeds)
        labels = self._labels(batch, tokens)
        total = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")
        count = (labels != IGNORED).sum()
        return Output(total / count.clamp_min(1), count, logits, tokens)

    def outputs(self, batch: Batch) -> Tensor:
        """The logits of the tokens without prefix, [B, N, C]."""
        return self._logits(self.encode(batch).embeds)

    def _logits(self, embeds: Tensor) -> Tensor:
        return self.head(embeds[:, self._tokenizer.num_prefix_tokens :]).float()

    @property
    def _tokenizer(self) -> Any:
        [tokenizer] = self.model.tokenizers.values()
        return tokenizer

    def _labels(self, batch: Batch, tokens: TokenSequence) -> Tensor:
        """[B, N], one for each token without prefix: some tokenizers cut clips or fill them up."""
        real = tokens.mask[:, self._tokenizer.num_prefix_tokens :]
        labels, num = batch["labels"], real.shape[1]
        labels = F.pad(labels[:, :num], (0, max(num - labels.shape[1], 0)), value=IGNORED)
        return labels.masked_fill(~real, IGNORED)

    def update_metrics(self, output: Output, batch: Batch) -> None:
        """Count tokens, and spans sample by sample; keeps the first samples to show."""
        said, labels = decided(output.logits), self._labels(batch, output.tokens)
        self.class_counts.update(said, labels)
        if self.span_scores is not None:
            for there, found in zip(labels.cpu(), said.cpu(), strict=True):
                counted = there != IGNORED
                self.span_scores.update(self._names(there[counted]), self._names(found[counted]))
        if not self.shown:
            self.shown = self._describe(batch, labels[:NUM_SHOWN], said[:NUM_SHOWN])

    def compute_metrics(self) -> dict[str, Tensor]:
        """`f1` and `accuracy`; of spans `precision` and `recall` too."""
        if self.span_scores is None:
            inside = [index for index, name in enumerate(self.class_names) if name != OUTSIDE]
            figures = {"f1": mean(self.class_counts.f1()[inside])}
        else:
            figures = self.span_scores.compute()
            self.span_scores.reset()
        figures["accuracy"] = self.class_counts.accuracy()
        self.class_counts.reset()
        return figures

    def answer(self, batch: Batch, top_k: int = 1) -> list[dict[str, Any]]:
        """`words`, `tags` and `spans` of a text, `segments` of a sound; needs no labels."""
        said = self.outputs(batch).argmax(-1)
        return [
            self.labels.tell(row, self._names(one))
            for row, one in zip(self._inputs(batch), said, strict=True)
        ]

    def _describe(self, batch: Batch, labels: Tensor, said: Tensor) -> list[str]:
        rows = list(zip(self._inputs(batch), labels, said, strict=False))
        return [
            " -> ".join(self.labels.show(row, self._names(one)) for one in (there, found))
            for row, there, found in rows
        ]

    def _inputs(self, batch: Batch) -> list[Any]:
        """The text of each sample, or its sound without padding."""
        if isinstance(self.labels, WordLabels):
            return texts_of(batch)
        key = self._tokenizer.input_key
        mask = batch.get(MASK_OF.get(key, f"{key}_mask"))
        return [row if mask is None else row[mask[index]] for index, row in enumerate(batch[key])]

    def _names(self, labels: Tensor) -> list[str]:
        """O also where a label does not count, or is of no class."""
        known = dict(enumerate(self.class_names))
        return [known.get(index, OUTSIDE) for index in labels.tolist()]


def _make_labels(model: Unimodal, class_names: Sequence[str]) -> WordLabels | FrameLabels:
    fields = list(model.tokenizers)
    tokenizer: Any = model.tokenizers[fields[0]]
    if fields == ["text"]:
        return WordLabels(tokenizer.preprocess, tuple(class_names))
    if fields != ["audio"]:
        raise ValueError(
            f"sequence labeling reads text or sound; this model reads {', '.join(fields)}. "
            "Set modality=text or modality=audio."
        )
    if tokenizer.token_times is None:
        raise ValueError(
            f"sequence labeling needs tokens in a row in time; {type(tokenizer).__name__} has none. "
            "Set tokenizer=audio_frame or audio_whisper."
        )
    if OUTSIDE not in class_names:
        raise ValueError(
            f"the classes of sound are {list(class_names)}; {OUTSIDE}, for no class, is missing."
        )
    first, step = tokenizer.token_times
    return FrameLabels(tuple(class_names), first, step, tokenizer.preprocess.sample_rate)

"""Write a text about media: captions, transcripts, answers to questions."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.utils.data import Dataset

from unimodal.data.examples import Examples
from unimodal.model import Unimodal
from unimodal.tasks.base import Output, Task, check_own_place
from unimodal.tasks.captions import CaptionPreprocess, prompts, without_text
from unimodal.tasks.decoding import Decoding
from unimodal.tasks.intervals import Intervals
from unimodal.tasks.reader import Given, Reader
from unimodal.tasks.sums import Mean, Sum
from unimodal.tasks.written import WrittenText
from unimodal.types import IGNORED, Batch, TokenSequence, concatenate

NUM_SHOWN = 8


class Captioning(Task):
    """Next-token prediction of a text behind media, with prefix attention.

        [media] [prompt] eos text     media and prompt see each other, the text sees them and what it has of
                                      itself; the loss is on the text and its end

    `val/loss`, the monitor, and `perplexity` are teacher-forced, over all of validation; `exact_match`,
    `wer`, `cer` and `bleu` are of texts that the model wrote, for the first `num_generated` samples.
    `num_compared` is the number of these texts, and `num_cut` of how many the true text was cut at the
    tokenizer's `max_len`, so that only its beginning was compared. Long captions are hardly ever exact, and
    of those the loss says most; where texts are short, set `callbacks.best.monitor=val/exact_match`.

    Args:
        model: reads one or several media, and `text`.
        decoding: how texts are written.
        tied: the head shares the embedding's weights.
        label_smoothing: of training; the validation loss has none.
        num_generated: samples of a validation for which texts are written; None: all.
    """

    metric_modes: Mapping[str, str] = {**WrittenText.metric_modes, "perplexity": "min"}

    def __init__(
        self,
        model: Unimodal,
        decoding: Decoding | None = None,
        tied: bool = False,
        label_smoothing: float = 0.1,
        num_generated: int | None = 1000,
    ):
        super().__init__(model)
        _check(model)
        self.decoding, self.num_generated = decoding or Decoding(), num_generated
        self.label_smoothing = label_smoothing
        _check_positions(self.text, self.decoding)
        self.head = nn.Linear(model.backbone.dim, self.text.vocab_size, bias=False)
        nn.init.zeros_(self.head.weight)
        if tied:
            self.head.weight = self.text.tie()
        self.nats, self.written = Mean(), WrittenText()
        self.num_compared, self.num_cut = Sum(), Sum()
        self.num_seen = 0

    @property
    def text(self) -> Any:
        """The tokenizer of what is written."""
        return self.model.tokenizers["text"]

    @property
    def preprocess(self) -> dict[str, Any]:
        """The tokenizers', but prompt and text as one row."""
        return super().preprocess | {"text": CaptionPreprocess(self.text.preprocess)}

    @property
    def asks(self) -> list[str]:
        """The media."""
        return [field for field in self.model.tokenizers if field != "text"]

    @property
    def asked(self) -> dict[str, Any]:
        """A prompt too, where there is one."""
        return super().asked | {"prompt": CaptionPreprocess(self.text.preprocess)}

    @staticmethod
    def examples(
        samples: Any,
        preprocess: Mapping[str, Any],
        training: bool,
        augment: Callable | None = None,
        seed: int = 0,
    ) -> Dataset:
        """Tensors of each sample, `labels` those of `CaptionPreprocess`, and `counted`."""
        return Examples(samples, preprocess, augment, seed)

    def forward(self, batch: Batch) -> Output:
        """`input_ids`, `labels` int [B, N], `num_prompt_tokens`, `counted` [B]; logits [B, N, V]."""
        tokens = self.encode(batch)
        labels = batch["labels"].masked_fill(~batch["counted"][:, None], IGNORED)
        logits = self._text_logits(tokens, batch)
        count = (labels != IGNORED).sum()
        total = F.cross_entropy(
            logits.flatten(0, 1),
            labels.flatten(),
            ignore_index=IGNORED,
            reduction="sum",
            label_smoothing=self.label_smoothing if self.training else 0.0,
        )
        return Output(total / count.clamp_min(1), count, logits, tokens)

    def encode(self, batch: Batch) -> TokenSequence:
        """Media, prompt and text."""
        given = self._given(batch)
        return self.model.backbone(given.tokens, causal=True, prefix=given.prefix, rows=batch.get("rows"))

    def outputs(self, batch: Batch) -> Tensor:
        """Logits of the token after each of `input_ids`, [B, N, V]."""
        return self._text_logits(self.encode(batch), batch)

    def answer(self, batch: Batch, top_k: int = 1) -> list[dict[str, Any]]:
        """`text`: what is written of each sample."""
        return [{"text": text} for text in self.write(batch)]

    @torch.no_grad()
    def write(self, batch: Batch) -> list[str]:
        """A text for each sample of a batch with `input_ids` and `num_prompt_tokens`; reads no text there."""
        given = self._given(without_text(batch))
        together = isinstance(self, FSDPModule)
        reader = Reader(self.model, self.head, given, self.decoding.max_new_tokens, together)
        return self._decode(self.decoding(reader, self.text.preprocess.eos_id))

    def update_metrics(self, output: Output, batch: Batch) -> None:
        """Count the loss, and what is written of the samples whose turn it is."""
        self.nats.update(output.loss, output.count)
        mine, num_seen = self._first(batch)
        if not mine:
            return
        rows = {key: value[: len(mine)] for key, value in batch.items()}
        written, wanted = self.write(rows), self._decode(rows["labels"])
        counted = [i for i, is_mine in enumerate(mine) if is_mine and bool(batch["counted"][i])]
        self.written.update([written[i] for i in counted], [wanted[i] for i in counted])
        whole = (rows["labels"] == self.text.preprocess.eos_id).any(1)
        self.num_compared.update(torch.ones(len(counted), device=whole.device))
        self.num_cut.update(~whole[counted])
        if not num_seen:
            asked = self._decode(prompts(rows))
            shown = [f"{asked[i]} {wanted[i]} -> {written[i]}".lstrip() for i in counted]
            self.shown = shown[:NUM_SHOWN]

    def compute_metrics(self) -> dict[str, Tensor]:
        """`perplexity`, and the figures of what was written."""
        perplexity = self.nats.compute().exp()
        self.nats.reset()
        self.num_seen = 0
        if self.num_generated == 0:
            return {"perplexity": perplexity}
        numbers = {"num_compared": self.num_compared.compute(), "num_cut": self.num_cut.compute()}
        self.num_compared.reset()
        self.num_cut.reset()
        return {"perplexity": perplexity, **self.written.compute(), **numbers}

    def intervals(self) -> Intervals:
        """Of `exact_match`, `wer` and `cer` of what was written, which may be of some samples only."""
        return self.written.intervals() if self.num_generated else {}

    def _given(self, batch: Batch) -> Given:
        if "parts" in batch:
            raise ValueError(
                "captioning reads all media of each sample, not parts; set data.allow_missing=false."
            )
        media = self.model.embed({key: value for key, value in batch.items() if key != "input_ids"})
        text, num_prompt = self.text(batch), batch["num_prompt_tokens"]
        places = torch.arange(text.embeds.shape[1], device=num_prompt.device)
        seen = torch.ones(media.embeds.shape[:2], dtype=torch.bool, device=num_prompt.device)
        prefix = torch.cat((seen, places < num_prompt[:, None]), 1)
        return Given(concatenate([media, text]), prefix, media.embeds.shape[1], num_prompt)

    def _text_logits(self, tokens: TokenSequence, batch: Batch) -> Tensor:
        return self.head(tokens.embeds[:, -batch["input_ids"].shape[1] :]).float()

    def _decode(self, ids: Tensor) -> list[str]:
        """Rows of ids, of which negative ones are nothing, as texts."""
        return [self.text.preprocess.decode([token for token in row if token >= 0]) for row in ids.tolist()]

    def _first(self, batch: Batch) -> tuple[list[bool], int]:
        """Which of the next samples are among the first `num_generated` of all processes.

        The list is as long on each process, for all must write as often. Processes take turns: sample i of a
        process is sample i * processes + rank of all.
        """
        num_seen, size = self.num_seen, len(batch["counted"])
        self.num_seen += size
        if self.num_generated is None:
            return [True] * size, num_seen
        world_size, rank = (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)
        left = -(-self.num_generated // world_size) - num_seen
        places = range(num_seen, num_seen + min(max(left, 0), size))
        return [place * world_size + rank < self.num_generated for place in places], num_seen


def _check(model: Unimodal) -> None:
    fields = ", ".join(model.tokenizers)
    if "text" not in model.tokenizers:
        raise ValueError(
            f"captioning writes text behind {fields}; add a tokenizer for it, such as "
            "+tokenizer@beside.text=text_character."
        )
    if len(model.tokenizers) == 1:
        raise ValueError(
            "captioning reads media, this model only text; choose modality=image (audio, video) and "
            "+tokenizer@beside.text=text_character."
        )
    text: Any = model.tokenizers["text"]
    check_own_place(text, "captioning")
    if text.prefix is not None:
        raise ValueError("captioning starts a text with its end token; set num_prefix_tokens=0 of text.")


def _check_positions(text: Any, decoding: Decoding) -> None:
    if text.position_table is None:
        return
    room = len(text.position_table) - len(text.position_table) // 2  # a prompt has half of them
    if decoding.max_new_tokens > room:
        raise ValueError(
            f"task.decoding.max_new_tokens={decoding.max_new_tokens} and a prompt exceed the learned places "
            f"of text, max_len={len(text.position_table)}; lower it to {room}."
        )

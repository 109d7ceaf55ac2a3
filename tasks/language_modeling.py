"""Predict the next token of a text."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from unimodal.data.windows import TokenWindows
from unimodal.model import Unimodal
from unimodal.tasks.base import Output, Task, check_own_place
from unimodal.tasks.generation import Sampler, generate
from unimodal.tasks.sums import Sum
from unimodal.types import IGNORED, Batch


class LanguageModeling(Task):
    """Causal language modelling.

    The loss is in nats a token; bits per byte, loss over text bytes, compares models whatever their
    vocabulary.

    Args:
        model: needs a `text` tokenizer.
        tied: the head shares the embedding's weights.
        prompt: what the samples after validation continue; "" starts a new text.
        num_samples: how many of them.
        sample_len: new tokens a sample.
        temperature: of sampling, 0 is greedy.
        top_k: sample from the k likeliest only, or None.
        top_p: sample from the likeliest that reach this probability together, or None.
    """

    generates = True
    causal = True
    metric_modes: Mapping[str, str] = {"bits_per_byte": "min", "perplexity": "min"}

    def __init__(
        self,
        model: Unimodal,
        tied: bool = False,
        prompt: str = "",
        num_samples: int = 2,
        sample_len: int = 128,
        temperature: float = 0.8,
        top_k: int | None = None,
        top_p: float | None = 0.95,
    ):
        super().__init__(model)
        if "text" not in model.tokenizers:
            raise ValueError("language modeling needs a text tokenizer; choose modality=text.")
        text: Any = model.tokenizers["text"]
        check_own_place(text, "language modeling")
        if text.prefix is not None:
            raise ValueError("language modeling predicts text alone; set tokenizer.num_prefix_tokens=0.")
        self.head = nn.Linear(model.backbone.dim, text.vocab_size, bias=False)
        nn.init.zeros_(self.head.weight)
        if tied:
            self.head.weight = text.tie()
        self.prompt, self.num_samples, self.sample_len = prompt, num_samples, sample_len
        self.sampling: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        Sampler(**self.sampling)  # a bad setting fails now, not after the first epoch
        self._prompt_ids(prompt, sample_len)
        self.nats, self.targets, self.bytes = Sum(), Sum(), Sum()

    @staticmethod
    def examples(
        samples: Any,
        preprocess: Mapping[str, Any],
        training: bool,
        augment: Callable | None = None,
        seed: int = 0,
    ) -> Dataset:
        """Windows of the tokenizer's max_len over all texts."""
        text = preprocess["text"]
        return TokenWindows(samples, text, text.max_len, shift=training, seed=seed)

    def forward(self, batch: Batch) -> Output:
        """`input_ids` and `labels` int [B, N + 1]; logits [B, N, V], those at place i are of token i + 1."""
        inputs = {"input_ids": batch["input_ids"][:, :-1]}
        if "attention_mask" in batch:
            inputs["attention_mask"] = batch["attention_mask"][:, :-1]
        if "rows" in batch:
            inputs["rows"] = batch["rows"]
        tokens = self.encode(inputs)
        labels = batch["labels"][:, 1:]
        logits = self.head(tokens.embeds[:, -labels.shape[1] :]).float()
        count = (labels != IGNORED).sum()
        total = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")
        return Output(total / count.clamp_min(1), count, logits, tokens)

    def update_metrics(self, output: Output, batch: Batch) -> None:
        """Add up nats, targets and the bytes that they stand for."""
        counted = batch["labels"][:, 1:] != IGNORED
        self.nats.update(output.loss * output.count)
        self.targets.update(output.count)
        self.bytes.update((batch["byte_counts"][:, 1:] * counted).sum())

    def compute_metrics(self) -> dict[str, Tensor]:
        """`bits_per_byte`, and `perplexity` a token."""
        nats, targets, num_bytes = self.nats.compute(), self.targets.compute(), self.bytes.compute()
        for metric in (self.nats, self.targets, self.bytes):
            metric.reset()
        return {"bits_per_byte": nats / math.log(2) / num_bytes, "perplexity": (nats / targets).exp()}

    def complete(self, prompts: list[str], max_new_tokens: int, seed: int = 0) -> list[str]:
        """Continue each prompt; returns prompt and continuation."""
        sampler = Sampler(**self.sampling, seed=seed)
        return [self._complete(prompt, max_new_tokens, sampler) for prompt in prompts]

    def outputs(self, batch: Batch) -> Tensor:
        """Logits of the token after each, [B, N, V]."""
        return self.head(self.encode(batch).embeds).float()

    def samples(self) -> list[str]:
        """The prompt's continuations."""
        return self.complete([self.prompt] * self.num_samples, self.sample_len)

    def _complete(self, prompt: str, max_new_tokens: int, sampler: Sampler) -> str:
        text: Any = self.model.tokenizers["text"]
        preprocess = text.preprocess
        start = torch.tensor([self._prompt_ids(prompt, max_new_tokens)], device=self.device)
        written = generate(self.model, self.head, start, max_new_tokens, preprocess.eos_id, sampler)
        return preprocess.decode(written[0].tolist())

    def _prompt_ids(self, prompt: str, max_new_tokens: int) -> list[int]:
        text: Any = self.model.tokenizers["text"]
        ids = [text.preprocess.eos_id, *text.preprocess.encode(prompt).ids]
        length = len(ids) + max_new_tokens - 1  # what is written last is not read
        if text.position_table is not None and length > len(text.position_table):
            raise ValueError(
                f"a prompt of {len(ids)} tokens and {max_new_tokens} new ones exceed the learned positions "
                f"of tokenizer.max_len={len(text.position_table)}; lower task.sample_len."
            )
        return ids

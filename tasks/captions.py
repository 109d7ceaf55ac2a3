"""What a captioner learns from a sample's texts: a prompt, a start, the text, its end."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from unimodal.data.decoding.texts import decode_text
from unimodal.tokenizers.text import TextPreprocess, fast_tokenizer
from unimodal.types import IGNORED, Batch


@dataclass(frozen=True)
class CaptionPreprocess:
    """From `prompt` and `text` to one row of ids, and for each the token to be written after it.

        input_ids   what  is   it  eos  a    cat
        labels       .    .    .   a    cat  eos     . = ignored

    Attributes:
        text: the text tokenizer's. A row has its `max_len` tokens at most, of which a prompt gets half: of
            both the beginning is kept. The labels of a text that is cut have no end: it goes on there.
    """

    text: TextPreprocess
    field: str = "text"

    def __call__(self, sample: dict[str, Any]) -> dict[str, Tensor]:
        """`input_ids` int64 [N] and `num_prompt_tokens`; `labels` [N] where the sample has a text."""
        prompt = self._ids(decode_text(sample.get("prompt") or ""))[: self.text.max_len // 2]
        start = [*prompt, self.text.eos_id]
        example = {"num_prompt_tokens": torch.tensor(len(prompt))}
        if "text" not in sample:
            return example | {"input_ids": torch.tensor(start)}
        text = self._ids(sample["text"])
        ids, labels = [*start, *text], [*[IGNORED] * len(prompt), *text, self.text.eos_id]
        kept = slice(self.text.max_len)
        return example | {"input_ids": torch.tensor(ids[kept]), "labels": torch.tensor(labels[kept])}

    @property
    def max_len(self) -> int:
        """Tokens of a row."""
        return self.text.max_len

    def is_cut(self, sample: dict[str, Any]) -> bool:
        """Whether something of prompt or text is left out."""
        num_prompt = len(self._ids(decode_text(sample.get("prompt") or "")))
        num_text = len(self._ids(sample.get("text", "")))
        return num_prompt > self.max_len // 2 or num_prompt + 1 + num_text > self.max_len

    def num_tokens(self, example: dict[str, Tensor]) -> int:
        """Of prompt, start and text."""
        return self.text.num_tokens(example)

    def _ids(self, text: str) -> Sequence[int]:
        return _ids(self.text.tokenizer, text)


@lru_cache(maxsize=2)  # prompt and text are asked about just before or after they are used
def _ids(json: str, text: str) -> Sequence[int]:
    return fast_tokenizer(json).encode(text, add_special_tokens=False).ids


def without_text(batch: Batch) -> Batch:
    """The batch with prompt and start alone, which is where writing begins."""
    ids, num_prompt = batch["input_ids"], batch["num_prompt_tokens"]
    places = torch.arange(int(num_prompt.max()) + 1, device=ids.device)
    real = places <= num_prompt[:, None]
    rest = {key: value for key, value in batch.items() if key not in ("input_ids", "attention_mask")}
    mask = {} if bool(real.all()) else {"attention_mask": real}
    return {**rest, "input_ids": ids[:, : len(places)], **mask}


def prompts(batch: Batch) -> Tensor:
    """The prompts' ids, int [B, N], -100 elsewhere."""
    ids = batch["input_ids"]
    places = torch.arange(ids.shape[1], device=ids.device)
    return ids.masked_fill(places >= batch["num_prompt_tokens"][:, None], IGNORED)

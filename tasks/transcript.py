"""What is written of a sample's text: labels of a vocabulary of the task's own."""

from dataclasses import dataclass
from typing import Any, cast

import torch
from tokenizers import Tokenizer as FastTokenizer  # Hugging Face's package, a part of transformers
from torch import Tensor

from unimodal.tokenizers.text import fast_tokenizer


@dataclass(frozen=True)
class Transcript:
    """From `text` to labels and back, in data workers and in the task.

    Attributes:
        tokenizer: the text of a `tokenizer.json`.
        eos_token: its end of text. No text holds it, so it serves as the blank.
    """

    tokenizer: str
    eos_token: str
    field: str = "text"

    @property
    def fast(self) -> FastTokenizer:
        """Built once a process."""
        return fast_tokenizer(self.tokenizer)

    @property
    def blank(self) -> int:
        """The label that stands for none."""
        return cast(int, self.fast.token_to_id(self.eos_token))

    @property
    def num_labels(self) -> int:
        """With the blank."""
        return 1 + max(self.fast.get_vocab().values())  # ids may have holes

    def decode(self, ids: list[int]) -> str:
        """Back to a string; the blank is left out."""
        return self.fast.decode(ids, skip_special_tokens=True)

    def __call__(self, sample: dict[str, Any]) -> Tensor:
        """`text` str -> labels int64 [L]; an empty text is one blank, so that it is not taken for none."""
        ids = self.fast.encode(sample["text"], add_special_tokens=False).ids
        return torch.tensor(ids or [self.blank])

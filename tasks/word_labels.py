"""Labels of words on the tokens that words are made of."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unimodal.tasks.span_scores import are_span_tags, spans_of
from unimodal.tokenizers.text import TextPreprocess, fast_tokenizer
from unimodal.types import IGNORED, Batch

WORD = re.compile(r"\S+")


@dataclass(frozen=True)
class KeptText(TextPreprocess):
    """The tokens, and the text itself: not every vocabulary can give that back from its tokens."""

    def __call__(self, sample: dict[str, Any]) -> dict[str, Tensor]:
        """`text` str -> `input_ids` int64 [N], and its UTF-8 `text_bytes` uint8 [L]."""
        written = torch.tensor(list(sample["text"].encode()), dtype=torch.uint8)
        return super().__call__(sample) | {"text_bytes": written}


def texts_of(batch: Batch) -> list[str]:
    """What `KeptText` has put into a batch."""
    rows = batch["text_bytes"]
    real = batch.get("text_bytes_mask", torch.ones_like(rows, dtype=torch.bool))
    return [bytes(row[own].tolist()).decode() for row, own in zip(rows, real, strict=True)]


@dataclass(frozen=True)
class WordLabels:
    """From a text and its words' labels to labels of tokens, in data workers, and back, in the task.

    The first token of a word carries the word's label; the others, and those of no word, do not count. Words
    that `max_len` cuts off do not count either.

    Attributes:
        text: the text tokenizer's preprocess.
        class_names: of the labels 0, 1, 2, ...
    """

    text: Any
    class_names: Sequence[str]
    field: str = "spans"

    def __call__(self, sample: dict[str, Any]) -> Tensor:
        """`text` and `spans`, (start, end, label) of each word in characters -> int64 [N], one a token."""
        offsets = self._offsets(sample["text"])
        labels = torch.full((len(offsets),), IGNORED)
        words = [(start, end) for start, end, _ in sample["spans"]]
        for token, (_, _, label) in zip(first_tokens(offsets, words), sample["spans"], strict=True):
            if token is not None:
                labels[token] = self.class_names.index(label)
        return labels

    def _offsets(self, text: str) -> list[tuple[int, int]]:
        """Where each token begins and ends, in characters."""
        fast = fast_tokenizer(self.text.tokenizer, self.text.max_len)
        return fast.encode(text).offsets[: self.text.max_len] or [(0, 0)]

    def tell(self, text: str, said: Sequence[str]) -> dict[str, Any]:
        """`words`, what stands between spaces; their `tags`; and `spans` where tags say such.

        Args:
            text: as it was written.
            said: the tag of each of its tokens; those of padding are not read.
        """
        words = list(WORD.finditer(text))
        places = first_tokens(self._offsets(text), [word.span() for word in words])
        known = [(w, said[p]) for w, p in zip(words, places, strict=True) if p is not None]
        answer: dict[str, Any] = {"words": [word[0] for word, _ in known], "tags": [tag for _, tag in known]}
        if are_span_tags(self.class_names):
            answer["spans"] = [
                {
                    "label": span.label,
                    "text": text[known[span.start][0].start() : known[span.end - 1][0].end()],
                }
                for span in spans_of(answer["tags"])
            ]
        return answer

    def show(self, text: str, said: Sequence[str]) -> str:
        """One line: `None CODE; x <= y CODE`, or each word with its tag."""
        told = self.tell(text, said)
        if "spans" in told:
            return "; ".join(f"{span['text']} {span['label']}" for span in told["spans"]) or "no span"
        return " ".join(f"{word}/{tag}" for word, tag in zip(told["words"], told["tags"], strict=True))


def first_tokens(offsets: Sequence[tuple[int, int]], words: Sequence[tuple[int, int]]) -> list[int | None]:
    """For each word the first token that holds a character of it; None where that is cut off or taken.

    Args:
        offsets: (start, end) of each token in characters; special tokens are empty.
        words: (start, end) of each, in order.
    """
    found: list[int | None] = []
    token = 0
    for start, end in words:
        while token < len(offsets) and (offsets[token][1] <= start or offsets[token][0] == offsets[token][1]):
            token += 1
        there = token < len(offsets) and start < end and offsets[token][0] < end
        found.append(token if there else None)
        token += there
    return found

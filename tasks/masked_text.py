"""Find the hidden tokens of a text: masked language modelling."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from unimodal.data.seeded import Seeded
from unimodal.data.windows import TokenWindows
from unimodal.model import Unimodal
from unimodal.tasks.base import Output, Task, check_own_place
from unimodal.tasks.masking import WORD, Masking, noise, places, take
from unimodal.tasks.sums import Mean, decided
from unimodal.types import IGNORED, Batch, TokenSequence

MASKED, REPLACED = 0.8, 0.1  # shares of the hidden tokens; the rest stays as it is
FATE, OTHER = 1, 2  # beside the choice of tokens, what noise is drawn for
NUM_SHOWN = 48  # tokens


class MaskedText(Task):
    """The backbone reads a text in both directions and names the tokens that are hidden.

    Devlin et al. 2018 (BERT, arXiv 1810.04805): of the hidden tokens 80% become a learned vector, 10% any
    token, 10% stay. As by a language model, the text is read in windows (RoBERTa, 1907.11692). The loss is in
    nats a hidden token. In validation each window's mask is always the same, so that epochs, and runs of one
    seed, compare.

    Args:
        model: needs a `text` tokenizer and no other.
        masking: which tokens are hidden. Prefix tokens never are.
    """

    metric_modes: Mapping[str, str] = {"accuracy": "max"}

    def __init__(self, model: Unimodal, masking: Masking):
        super().__init__(model)
        if list(model.tokenizers) != ["text"]:
            raise ValueError(f"masked text reads text alone, not {', '.join(model.tokenizers)}.")
        text: Any = model.tokenizers["text"]
        check_own_place(text, "masked text")
        self.masking = masking
        self.mask_token = nn.Parameter(0.02 * torch.randn(model.backbone.dim))
        self.head = nn.Linear(model.backbone.dim, text.vocab_size, bias=False)
        nn.init.zeros_(self.head.weight)
        self.accuracy = Mean()

    @staticmethod
    def examples(
        samples: Any,
        preprocess: Mapping[str, Any],
        training: bool,
        augment: Callable | None = None,
        seed: int = 0,
    ) -> Dataset:
        """Windows of the tokenizer's max_len over all texts, with a seed for each mask."""
        text = preprocess["text"]
        windows = TokenWindows(samples, text, text.max_len - 1, shift=training, seed=seed)
        return Seeded(windows, training, seed)

    def forward(self, batch: Batch) -> Output:
        """`input_ids` and `labels` int [B, N], `seed` int [B]; logits [B, hidden, V]."""
        hidden = self._hidden(batch)
        tokens = self.model.backbone(self._corrupted(batch, hidden), rows=batch.get("rows"))
        num = self.masking.num_hidden(hidden.shape[1])  # of the longest row
        at = places(hidden, num)
        labels = _labels(batch, hidden).gather(1, at)
        logits = self.head(take(tokens.embeds[:, -hidden.shape[1] :], at)).float()
        count = (labels != IGNORED).sum()
        total = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")
        return Output(total / count.clamp_min(1), count, logits, tokens)

    def update_metrics(self, output: Output, batch: Batch) -> None:
        """Count the tokens that are found; keeps the first text to show."""
        hidden = self._hidden(batch)
        said = decided(output.logits)
        labels = _labels(batch, hidden).gather(1, places(hidden, said.shape[1]))
        right = (said == labels)[labels != IGNORED]
        self.accuracy.update(right)
        if not self.shown:
            self.shown = [self._describe(batch["input_ids"][0], hidden[0], said[0])]

    def compute_metrics(self) -> dict[str, Tensor]:
        """`accuracy` of the hidden tokens."""
        accuracy = self.accuracy.compute()
        self.accuracy.reset()
        return {"accuracy": accuracy}

    def _hidden(self, batch: Batch) -> Tensor:
        ids = batch["input_ids"]
        real = batch["attention_mask"].bool() if "attention_mask" in batch else torch.ones_like(ids).bool()
        return self.masking(real, _numbered(ids).expand(-1, -1, 3).float(), batch["seed"])

    def _corrupted(self, batch: Batch, hidden: Tensor) -> TokenSequence:
        text: Any = self.model.tokenizers["text"]
        ids, seeds = batch["input_ids"], batch["seed"]
        fate = noise(seeds + FATE, _numbered(ids)) / (WORD + 1)  # [B, N] in 0..1
        replaced = hidden & (fate >= 1 - REPLACED)
        ids = torch.where(replaced, noise(seeds + OTHER, _numbered(ids)) % text.vocab_size, ids)
        tokens = self.model.embed(batch | {"input_ids": ids})
        change = self.mask_token - text.embedding(ids)  # learned positions stay as they are
        change = change * (hidden & (fate < MASKED))[..., None]
        own = (0, 0, tokens.embeds.shape[1] - ids.shape[1], 0)  # behind the prefix
        return tokens.with_embeds(tokens.embeds + F.pad(change, own))

    def _describe(self, ids: Tensor, hidden: Tensor, said: Tensor) -> str:
        text: Any = self.model.tokenizers["text"]
        decode = text.preprocess.decode
        guesses, words = iter(said.tolist()), []
        for token, is_hidden in zip(ids[:NUM_SHOWN].tolist(), hidden.tolist(), strict=False):
            words.append(f"[{decode([token])}|{decode([next(guesses)])}]" if is_hidden else decode([token]))
        return "".join(words)


def _numbered(ids: Tensor) -> Tensor:
    """The place of each token, int [1, N, 1]."""
    return torch.arange(ids.shape[1], device=ids.device)[None, :, None]


def _labels(batch: Batch, hidden: Tensor) -> Tensor:
    """What is to be found, -100 = nothing."""
    return batch["labels"].masked_fill(~hidden, IGNORED)

"""What was read so far, and what the model would write next."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from unimodal.backbone.cache import KVCache
from unimodal.model import Unimodal
from unimodal.types import TokenSequence


@dataclass(frozen=True)
class Given:
    """Media, and behind them the ids of a text or of its beginning.

    Attributes:
        tokens: [B, M + N], the M of the media first.
        prefix: bool [B, M + N], the media and the prompt: they see each other, and every token sees them.
        num_media: M, padding included.
        num_prompt_tokens: int [B], of the N; the next one starts what is to be written.
    """

    tokens: TokenSequence
    prefix: Tensor
    num_media: int
    num_prompt_tokens: Tensor


class Reader:
    """Reads what is given once and then one token a call, with the key-value cache.

    Args:
        model: has a `text` tokenizer.
        head: from tokens to logits.
        given: media, prompt and start.
        room: how many tokens may be written.
        together: all processes must take the same number of steps, as sharded blocks want it.

    Attributes:
        logits: of the next token, float [B, V].
    """

    def __init__(
        self,
        model: Unimodal,
        head: Callable[[Tensor], Tensor],
        given: Given,
        room: int,
        together: bool = False,
    ):
        self.model, self.head, self.together = model, head, together
        batch, num_given, _ = given.tokens.embeds.shape
        registers = model.backbone.registers
        self.cache = KVCache(num_given + room + (0 if registers is None else len(registers)))
        tokens = model.backbone(given.tokens, causal=True, prefix=given.prefix, cache=self.cache)
        rows = torch.arange(batch, device=given.prefix.device)
        self.logits = head(tokens.embeds[rows, given.num_media + given.num_prompt_tokens]).float()
        self.places = given.num_prompt_tokens + 1  # of the next token in its text
        begins = given.tokens.positions[:, given.num_media, None]  # the text's first token stands at 0 in it
        self.origin = begins.expand(batch, -1, -1)  # [B, 1, 3]

    def read(self, ids: Tensor) -> Tensor:
        """One token a row, int [B]; returns the logits of the next."""
        tokenizer: Any = self.model.tokenizers["text"]
        text = tokenizer({"input_ids": ids[:, None], "position_ids": self.places[:, None]})
        text = replace(text, positions=text.positions + self.origin)
        tokens = self.model.backbone(text, causal=True, cache=self.cache)
        self.places = self.places + 1
        self.logits = self.head(tokens.embeds[:, -1]).float()
        return self.logits

    def select(self, rows: Tensor) -> None:
        """Go on with `rows` int [B'] of the batch."""
        self.cache.select(rows)
        self.places, self.origin, self.logits = self.places[rows], self.origin[rows], self.logits[rows]

    def over(self, ended: Tensor) -> bool:
        """Whether all rows have ended, where `together` those of all processes."""
        left = (~ended).sum()
        if self.together:
            dist.all_reduce(left)
        return int(left) == 0

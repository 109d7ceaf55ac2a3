"""transformers' cache of keys and values under the interface of our own."""

from typing import Any

import torch
from torch import Tensor

from unimodal.backbone.cache import KVCache


class PastKeyValues(KVCache):
    """What `generate` hands from step to step: beams are reordered and steps taken back outside of us.

    Register tokens are kept beside the cache, for transformers counts tokens by its length: once for all rows
    where they see only each other, and so are the same in each; else as those of the rows of the first pass,
    which beams of one sample share.

    Args:
        past: a `transformers.Cache` that grows.
        attention_mask: [B, seen + new], which tokens are real, or None: all.
        num_registers: of the backbone.
        prefixed: registers see a prefix.

    Raises:
        ValueError: for a cache of a fixed size.
    """

    def __init__(self, past: Any, attention_mask: Tensor | None, num_registers: int, prefixed: bool = False):
        if past.is_compileable:
            raise ValueError("this model writes with a cache that grows; leave out cache_implementation.")
        self.past, self.attention_mask, self.num_registers = past, attention_mask, num_registers
        self.kept = slice(None) if prefixed else slice(1)
        self.seen: int = past.get_seq_length()
        if not self.seen:
            past.registers = {}
        self.registers: dict[int, tuple[Tensor, Tensor]] = past.registers

    @property
    def length(self) -> int:
        """Tokens seen before this pass, registers included; those that it adds count in the next."""
        return self.seen + self.num_registers if self.seen else 0

    @length.setter
    def length(self, length: int) -> None:
        """The cache itself counts."""

    def extend(self, mask: Tensor, padded: bool) -> tuple[Tensor, bool]:
        """The mask of all keys, [B, K], from the whole attention mask; `mask` is of the new tokens."""
        num_new = mask.shape[1] - (0 if self.seen else self.num_registers)
        num_keys = self.num_registers + self.seen + num_new
        if self.attention_mask is None:
            return mask.new_ones(mask.shape[0], num_keys), False
        have = self.attention_mask.shape[1]
        if have != self.seen + num_new:
            raise ValueError(
                f"attention_mask has {have} columns; {self.seen} tokens are cached and {num_new} are new."
            )
        registers = mask.new_ones(mask.shape[0], self.num_registers)
        return torch.cat((registers, self.attention_mask.bool()), 1), True

    def append(self, layer_idx: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store new keys and values [B, H, N, head_dim]; returns those of registers and all tokens."""
        num = self.num_registers
        if num and not self.seen:
            self.registers[layer_idx] = key[self.kept, :, :num], value[self.kept, :, :num]
            key, value = key[:, :, num:], value[:, :, num:]
        keys, values = self.past.update(key, value, layer_idx)
        if not num:
            return keys, values
        rows = len(keys)
        first_key, first_value = (x.expand(rows, -1, -1, -1) for x in self.registers[layer_idx])
        return torch.cat((first_key, keys), 2), torch.cat((first_value, values), 2)

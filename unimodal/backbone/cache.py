"""Keys and values of the tokens already read, so that generation computes only the new one."""

import torch
from torch import Tensor


class KVCache:
    """Room for `max_len` tokens a layer (register tokens included); filled by `Transformer.forward`.

    Attributes:
        length: how many tokens each layer holds.
        mask: bool [B, length], which of them are real.
    """

    def __init__(self, max_len: int):
        self.max_len, self.length = max_len, 0
        self.mask: Tensor | None = None
        self.padded = False
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}

    def extend(self, mask: Tensor, padded: bool) -> tuple[Tensor, bool]:
        """Note which of the new tokens [B, N] are real.

        Returns the mask of all, [B, length + N], and whether it has gaps.

        Raises:
            ValueError: if they do not fit.
        """
        if self.length + mask.shape[1] > self.max_len:
            raise ValueError(
                f"the cache holds {self.length} of max_len={self.max_len} tokens; "
                f"{mask.shape[1]} more do not fit."
            )
        self.mask = mask if self.mask is None else torch.cat((self.mask, mask), 1)
        self.padded = self.padded or padded
        return self.mask, self.padded

    def select(self, rows: Tensor) -> None:
        """Make `rows` int [B'] of the batch the new batch; a row may come several times (beam search)."""
        self.mask = None if self.mask is None else self.mask[rows]
        self.layers = {idx: (keys[rows], values[rows]) for idx, (keys, values) in self.layers.items()}

    def append(self, layer_idx: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store new keys and values [B, H, N, head_dim] of one layer.

        Returns all of them, [B, H, length + N, head_dim].
        """
        if layer_idx not in self.layers:
            room = (*key.shape[:2], self.max_len, key.shape[3])
            self.layers[layer_idx] = key.new_empty(room), value.new_empty(room)
        keys, values = self.layers[layer_idx]
        end = self.length + key.shape[2]
        keys[:, :, self.length : end], values[:, :, self.length : end] = key, value
        return keys[:, :, :end], values[:, :, :end]

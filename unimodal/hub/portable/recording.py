"""What users of transformers ask a model for beside its output: attention maps and hidden states."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from unimodal.backbone.attention import attend
from unimodal.backbone.transformer import Transformer


class Attend:
    """The blocks' attention function: `sdpa`, or `eager`, whatever the config says when it is called.

    Args:
        config: of the model; its `_attn_implementation` decides.

    Attributes:
        maps: None, or where attention maps [B, H, N, K] are collected.
    """

    def __init__(self, config: Any):
        self.config = config
        self.maps: list[Tensor] | None = None

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, is_causal: bool) -> Tensor:
        """As `unimodal.backbone.attention.attend`."""
        if self.config._attn_implementation != "eager":
            return attend(q, k, v, mask, is_causal)
        weights = attention_map(q, k, mask, is_causal)
        if self.maps is not None:
            self.maps.append(weights)
        return weights @ v.repeat_interleave(q.shape[1] // v.shape[1], 1)


def attention_map(q: Tensor, k: Tensor, mask: Tensor | None, is_causal: bool) -> Tensor:
    """softmax(q k^T / sqrt(head_dim)), [B, H, N, K], summed up in fp32; `mask` bool, True = visible."""
    k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
    scores = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5
    if is_causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return scores.softmax(-1, dtype=torch.float32).to(q.dtype)


@dataclass
class Record:
    """Of one forward pass: what each block read, and its attention map."""

    streams: list[Tensor] = field(default_factory=list)
    maps: list[Tensor] = field(default_factory=list)

    def hidden_states(self, last: Tensor) -> tuple[Tensor, ...]:
        """What each block read, register tokens left out, and at the end `last` [B, N, D]."""
        return (*(stream[:, -last.shape[1] :] for stream in self.streams), last)


@contextmanager
def recording(
    backbone: Transformer, attention: Attend, hidden_states: bool, attentions: bool
) -> Iterator[Record]:
    """Fill a record while the backbone runs.

    Raises:
        ValueError: if attention maps are wanted of a kernel that does not give them.
    """
    if attentions and attention.config._attn_implementation != "eager":
        raise ValueError('output_attentions=True needs attn_implementation="eager"; load the model with it.')
    record = Record()
    keep = [block.register_forward_pre_hook(_kept(record)) for block in backbone.blocks if hidden_states]
    attention.maps = record.maps if attentions else None
    try:
        yield record
    finally:
        attention.maps = None
        for hook in keep:
            hook.remove()


def _kept(record: Record) -> Any:
    return lambda block, inputs: record.streams.append(inputs[0])

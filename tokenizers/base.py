"""What all tokenizers share: prefix tokens and learned absolute positions around a modality's own tokens."""

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from unimodal.types import Batch, TokenSequence

Choose = Callable[[Tensor, Tensor], Tensor]
"""From mask [B, N] and positions [B or 1, N, 3] of a modality's own tokens to those to be hidden, [B, N]."""


class Tokenizer(nn.Module):
    """Turns one modality's part of a batch into a TokenSequence. A subclass writes `tokenize`.

    Call the module itself, `tokenizer(batch)`: hooks, DDP, FSDP and compile see only `forward`.

    Args:
        dim: the shared width.
        num_prefix_tokens: learned tokens before the sequence; the first serves as CLS, others as registers.
        num_positions: of the learned absolute positions, 0 for none; prefix tokens then have some too.

    Attributes:
        sees_neighbours: a token depends on its neighbours, which tasks that write text cannot allow.
        input_key: the key of the batch that it reads; the batch must also hold `KEY_mask` where KEY is
            padded.
        preprocess: a frozen dataclass of plain values that runs in the data workers; its `field` names the
            sample's field that it reads, its call turns a sample into tensors.
    """

    input_key: ClassVar[str]
    sees_neighbours: ClassVar[bool] = False

    def __init__(self, dim: int, num_prefix_tokens: int = 0, num_positions: int = 0):
        super().__init__()
        self.dim, self.num_positions, self.num_prefix_tokens = dim, num_positions, num_prefix_tokens
        self.prefix = nn.Parameter(0.02 * torch.randn(num_prefix_tokens, dim)) if num_prefix_tokens else None
        rows = num_prefix_tokens + num_positions  # prefix first, as in the stock classes
        self.position_table = nn.Parameter(0.02 * torch.randn(rows, dim)) if num_positions else None

    @property
    def position_grid(self) -> tuple[int, ...]:
        """Axis sizes of the learned positions, without the prefix, slowest first; a grid has several."""
        return (self.num_positions,) if self.num_positions else ()

    @property
    def token_times(self) -> tuple[float, float] | None:
        """Middle of the first token and step to the next, in seconds; None if they are no row in time."""
        return None

    def tokenize(self, batch: Batch) -> TokenSequence:
        """The modality's own tokens, without prefix and learned positions."""
        raise NotImplementedError

    @property
    def target_size(self) -> int:
        """How many numbers a token stands for, which masked modelling reconstructs.

        Raises:
            ValueError: if its tokens stand for none of their own.
        """
        raise ValueError(f"{type(self).__name__} has nothing to reconstruct; choose another tokenizer=.")

    def targets(self, batch: Batch) -> Tensor:
        """What each of the modality's own tokens stands for, normalised: float [B, N, target_size]."""
        raise NotImplementedError

    def hide(self, batch: Batch, choose: Choose) -> tuple[TokenSequence, Tensor]:
        """Tokens of the batch, prefix first, and which of the modality's own are to be hidden, bool [B, N].

        Leaving those out is up to the caller. The others must not have seen what they stand for: a tokenizer
        whose tokens see beyond their own place blanks it before.
        """
        tokens, own = self(batch), self.num_prefix_tokens
        return tokens, choose(tokens.mask[:, own:], tokens.positions[:, own:])

    def position_index(self, tokens: TokenSequence) -> Tensor:
        """The place of each token, prefix not counted: int [N] or [B, N]."""
        return torch.arange(tokens.embeds.shape[1], device=tokens.embeds.device)

    def forward(self, batch: Batch) -> TokenSequence:
        """Tokens of the batch, prefix first.

        Raises:
            ValueError: if the batch lacks the modality, the table of positions is too short, or packed
                sequences meet prefix tokens.
        """
        if self.input_key not in batch:
            raise ValueError(f'batch has no "{self.input_key}"; it has {", ".join(batch)}.')
        tokens = self.tokenize(batch)
        prefix: Tensor | None = self.prefix
        if self.position_table is not None:
            tokens = tokens.with_embeds(tokens.embeds + self._learned_positions(tokens, self.position_table))
            if prefix is not None:
                prefix = prefix + self.position_table[: self.num_prefix_tokens]
        return tokens if prefix is None else self._with_prefix(tokens, prefix)

    def _learned_positions(self, tokens: TokenSequence, table: Tensor) -> Tensor:
        index, have = self.position_index(tokens), self.num_positions
        num = tokens.embeds.shape[1]
        asks = index.device.type == "cpu" and not torch.compiler.is_compiling()  # elsewhere it would wait
        if asks and index.numel():
            num = max(num, int(index.max()) + 1)
        if num > have:
            raise ValueError(
                f"the input has {num} tokens, learned positions only {have}; "
                "make the tokenizer's size larger."
            )
        return table[self.num_prefix_tokens + index]

    def _with_prefix(self, tokens: TokenSequence, prefix: Tensor) -> TokenSequence:
        if tokens.segments is not None:
            raise ValueError(
                "packed sequences (segments) cannot share tokenizer.num_prefix_tokens; "
                "take backbone.num_registers."
            )
        batch, num = tokens.embeds.shape[0], prefix.shape[0]
        origin = tokens.positions.new_zeros(tokens.positions.shape[0], num, 3)  # not rotated
        return replace(
            tokens,
            embeds=torch.cat((prefix.to(tokens.embeds.dtype).expand(batch, -1, -1), tokens.embeds), 1),
            mask=torch.cat((tokens.mask.new_ones(batch, num), tokens.mask), 1),
            positions=torch.cat((origin, tokens.positions), 1),
        )


def projection(in_features: int, dim: int, bias: bool = True) -> nn.Linear:
    """The linear map from one patch or frame to the shared width."""
    linear = nn.Linear(in_features, dim, bias=bias)
    nn.init.trunc_normal_(linear.weight, std=in_features**-0.5)
    if bias:
        nn.init.zeros_(linear.bias)
    return linear


def pair(size: int | tuple[int, int] | list[int], name: str) -> tuple[int, int]:
    """(height, width) from one number or two."""
    if isinstance(size, int):
        return size, size
    if len(size) != 2:
        raise ValueError(f"{name}={size} must be one number or (height, width).")
    return size[0], size[1]


def check_positive(**knobs: float) -> None:
    """Raise for a knob of the tokenizer that is not more than 0."""
    for knob, value in knobs.items():
        if value <= 0:
            raise ValueError(f"tokenizer.{knob}={value} must be more than 0.")


def check_multiple(name: str, size: int, of_name: str, of: int) -> None:
    """Raise where a size cannot be cut into whole patches."""
    if of < 1 or size < of or size % of:
        raise ValueError(f"{name}={size} is not a multiple of {of_name}={of}.")

"""The shared backbone: a stack of blocks over one residual stream."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from unimodal.backbone.block import Block, Scale
from unimodal.backbone.cache import KVCache
from unimodal.backbone.config import BlockConfig
from unimodal.backbone.masks import EVERYWHERE, Visibility, attention_mask
from unimodal.backbone.norms import make_norm
from unimodal.backbone.packing import move, pack, unpack
from unimodal.backbone.rope import Rotation, rotation
from unimodal.types import TokenSequence

LAYER_TYPES = ("full", "sliding", "unrotated")


class Transformer(nn.Module):
    """`depth` blocks and a final norm; reads any TokenSequence, whatever modality it came from.

    Args:
        dim: width of the residual stream.
        depth: number of blocks.
        num_heads: attention heads.
        block: the dialect.
        num_kv_heads: key-value heads, by default as many as heads.
        head_dim: width of a head, by default dim / num_heads.
        num_registers: learned memory tokens before the sequence, dropped again at the end
            (Darcet et al. 2023, arXiv 2309.16588).
        layer_types: for each block `full`, `sliding` or `unrotated`, which is full without rotary positions
            (SmolLM3); by default all full.
        window: how many tokens on either side a sliding block sees.
        final_norm: False leaves the stream as the last block wrote it.
        input_norm: `before` is a norm before the first block (CLIP), `instead` one in place of the first
            block's attention norm (ModernBERT).
        checkpointing: recompute each block in the backward pass, for less memory.
        drop_path: probability, in training, that a sample skips a branch of the last block; of the blocks
            before it linearly less (`DropPath`).
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        num_heads: int,
        block: BlockConfig | None = None,
        num_kv_heads: int | None = None,
        head_dim: int | None = None,
        num_registers: int = 0,
        layer_types: Sequence[str] | None = None,
        window: int | None = None,
        final_norm: bool = True,
        checkpointing: bool = False,
        input_norm: Literal["before", "instead"] | None = None,
        drop_path: float = 0.0,
    ):
        super().__init__()
        _check_at_least(
            1, dim=dim, depth=depth, num_heads=num_heads, num_kv_heads=num_kv_heads, head_dim=head_dim
        )
        _check_at_least(0, num_registers=num_registers, window=window)
        if not 0 <= drop_path < 1:
            raise ValueError(
                f"backbone.drop_path={drop_path} is not a probability; set it to 0 (off) up to 0.99."
            )
        if head_dim is None and dim % num_heads:
            raise ValueError(f"backbone.dim={dim} is not a multiple of backbone.num_heads={num_heads}.")
        config = block or BlockConfig()
        self.dim, self.config, self.window, self.checkpointing = dim, config, window, checkpointing
        self.head_dim = head_dim or dim // num_heads
        _check_rope(config, self.head_dim)
        self.layer_types = _checked_layer_types(layer_types, depth, window)
        sizes = (dim, num_heads, num_kv_heads or num_heads, self.head_dim, config.mlp_dim(dim))
        self.registers = nn.Parameter(torch.empty(num_registers, dim)) if num_registers else None
        skipped = [drop_path * (i + 1) / depth for i in range(depth)]
        self.blocks = nn.ModuleList(Block(*sizes, config, skip) for skip in skipped)
        self.input_norm = _make_input_norm(dim, config, input_norm)
        if input_norm == "instead":
            cast(Block, self.blocks[0]).attention_norm = nn.Identity()
        self.norm = make_norm(dim, config) if final_norm else nn.Identity()
        initialise(self)

    def forward(
        self,
        tokens: TokenSequence,
        *,
        causal: bool = False,
        prefix: Tensor | None = None,
        cache: KVCache | None = None,
        rows: Tensor | None = None,
    ) -> TokenSequence:
        """Run all blocks.

        Args:
            tokens: what to read; with a cache, only what it has not read yet.
            causal: whether a token sees only itself and what stands before it.
            prefix: bool [B, N], under `causal` the tokens that all others see.
            cache: remembers keys and values between calls; needs `causal`, excludes segments. A `prefix` goes
                with the first call only: what was read before it would have had to see it.
            rows: int [B] or None, without a cache. Which row each sample is computed in (`packing`): less is
                spent on padding, the result is the same.

        Raises:
            ValueError: for a combination that has no meaning.
        """
        _check_call(tokens, causal, prefix, cache, rows)
        x, prefix = self._with_registers(tokens, prefix, cache)
        if rows is not None:  # registers are there: each sample has its own
            x, places = pack(x, rows)
            prefix = None if prefix is None else move(prefix, places, x)
        see = _visibility(x, causal, prefix, cache)
        masks = {kind: attention_mask(see, self._window(kind)) for kind in set(self.layer_types)}
        turned = {kind: self._rotation(x, kind) for kind in set(self.layer_types)}
        stream = self.input_norm(x.embeds)
        for layer_idx, (block, kind) in enumerate(zip(self.blocks, self.layer_types, strict=True)):
            if self.checkpointing and self.training and cache is None:
                stream = checkpoint(block, stream, turned[kind], *masks[kind], use_reentrant=False)
            else:
                stream = block(stream, turned[kind], *masks[kind], cache, layer_idx)
        if cache is not None:
            cache.length += x.embeds.shape[1]
        if rows is not None:
            stream = unpack(stream, places)
        return tokens.with_embeds(self.norm(stream[:, -tokens.embeds.shape[1] :]))

    def _window(self, kind: str) -> int | None:
        return self.window if kind == "sliding" else None

    def _rotation(self, x: TokenSequence, kind: str) -> Rotation | None:
        config, theta = self.config, self.config.rope_theta
        if theta is None or kind == "unrotated":
            return None
        if kind == "sliding":
            theta = config.rope_sliding_theta or theta
        planar = config.rope_layout == "planar"
        return rotation(x.positions, self.head_dim, theta, _compute_dtype(x.embeds), planar)

    def _with_registers(
        self, x: TokenSequence, prefix: Tensor | None, cache: KVCache | None
    ) -> tuple[TokenSequence, Tensor | None]:
        if self.registers is None or (cache is not None and cache.length):
            return x, prefix
        batch, num = x.embeds.shape[0], self.registers.shape[0]
        here = self.registers.to(x.embeds.dtype).expand(batch, -1, -1)
        real = x.mask.new_ones(batch, num)
        segments = x.segments
        if segments is not None:
            segments = torch.cat((segments.new_full((batch, num), EVERYWHERE), segments), 1)
        origin = x.positions.new_zeros(x.positions.shape[0], num, x.positions.shape[2])
        joined = replace(
            x,
            embeds=torch.cat((here, x.embeds), 1),
            mask=torch.cat((real, x.mask), 1),
            positions=torch.cat((origin, x.positions), 1),
            segments=segments,
        )
        return joined, None if prefix is None else torch.cat((real, prefix), 1)


def initialise(model: Transformer) -> None:
    """All initialisation of the backbone.

    | parameter                     | value                                                |
    | ----------------------------- | ---------------------------------------------------- |
    | query, key, value, gate, up   | uniform, standard deviation (3 * fan_in) ** -0.5     |
    | attention.out, mlp.down       | zero (`residual_init=normal`: like the others)       |
    | norms, biases                 | one, zero                                            |
    | layer scale                   | `block.layer_scale`                                  |
    | registers                     | normal, 0.02                                         |

    With zero branches every block is the identity at first: the gradient reaches the first block
    undiminished.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            bound = module.in_features**-0.5
            nn.init.uniform_(module.weight, -bound, bound)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, Scale):
            nn.init.constant_(module.weight, module.initial)
    if model.config.residual_init == "zero":
        for block in cast(Iterable[Block], model.blocks):
            nn.init.zeros_(block.attention.out.weight)
            nn.init.zeros_(block.mlp.down.weight)
    if model.registers is not None:
        nn.init.normal_(model.registers, std=0.02)


def _compute_dtype(stream: Tensor) -> torch.dtype:
    """The precision that linears will give: autocast's where it is on."""
    kind = stream.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else stream.dtype


def _visibility(x: TokenSequence, causal: bool, prefix: Tensor | None, cache: KVCache | None) -> Visibility:
    keys, padded = (x.mask, x.padded) if cache is None else cache.extend(x.mask, x.padded)
    return Visibility(keys, padded, causal, prefix, x.segments, x.embeds.shape[1])


def _make_input_norm(dim: int, config: BlockConfig, input_norm: str | None) -> nn.Module:
    if input_norm not in (None, "before", "instead"):
        raise ValueError(f"backbone.input_norm={input_norm!r} is not one of before, instead, null.")
    return nn.Identity() if input_norm is None else make_norm(dim, config)


def _check_rope(config: BlockConfig, head_dim: int) -> None:
    even = 4 if config.rope_layout == "planar" else 2
    if config.rope_theta and head_dim % even:
        raise ValueError(
            f"rotary positions need a multiple of {even} as head_dim, not {head_dim}; "
            "change backbone.num_heads."
        )


def _check_at_least(least: int, **sizes: int | None) -> None:
    for name, size in sizes.items():
        if size is not None and size < least:
            raise ValueError(f"backbone.{name}={size} must be at least {least}.")


def _checked_layer_types(layer_types: Sequence[str] | None, depth: int, window: int | None) -> list[str]:
    kinds = list(layer_types) if layer_types is not None else ["full"] * depth
    if len(kinds) != depth or not set(kinds) <= set(LAYER_TYPES):
        raise ValueError(
            f"backbone.layer_types={kinds} must name one of {', '.join(LAYER_TYPES)} "
            f"for each of depth={depth} blocks."
        )
    if "sliding" in kinds and window is None:
        raise ValueError("backbone.layer_types has sliding blocks; set backbone.window.")
    if "sliding" not in kinds and window is not None:
        raise ValueError(
            f"backbone.window={window} changes nothing: no block of backbone.layer_types is sliding."
        )
    return kinds


def _check_call(
    tokens: TokenSequence, causal: bool, prefix: Tensor | None, cache: KVCache | None, rows: Tensor | None
) -> None:
    if prefix is not None and not causal:
        raise ValueError(
            "a prefix has a meaning only under causal=True: without it every token is seen anyway."
        )
    if cache is not None and (not causal or tokens.segments is not None or rows is not None):
        raise ValueError("a cache works with causal=True and without segments and rows.")
    if cache is not None and cache.length and prefix is not None:
        raise ValueError("a prefix is read by the first call with a cache; later tokens are causal after it.")

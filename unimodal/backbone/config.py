"""The knobs of the one block. A dialect (conf/block/*.yaml) is a choice of all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from transformers.activations import ACT2FN


@dataclass(frozen=True)
class BlockConfig:
    """What the block is made of; the defaults are the modern dialect, which on text is Qwen3.

    Attributes:
        norm: `rms` or `layer`.
        norm_bias: whether a `layer` norm has a bias.
        eps: the norms' epsilon.
        qkv_bias: for all of query, key and value, or for each of the three. A key bias changes nothing under
            softmax.
        out_bias: bias of the attention's output.
        mlp_bias: bias of the feed-forward layers.
        mlp_ratio: hidden width of the feed-forward over `dim`, rounded to a multiple of 8.
        gated: SwiGLU-like, three matrices (Shazeer 2020, arXiv 2002.05202).
        act: an activation's name in transformers, such as `silu` or `gelu`.
        qk_norm: normalise each head's queries and keys (Dehghani et al. 2023, arXiv 2302.05442).
        layer_scale: initial factor of a learned scale per channel on each branch, or None.
        residual_init: `zero` makes every block the identity at initialisation; `normal` does not.
        rope_theta: base of the rotary embedding, or None for no rotation.
        rope_sliding_theta: base in blocks with a sliding window (ModernBERT, arXiv 2412.13663), by default
            the same.
        rope_layout: `interleaved` deals frequencies to the three axes in turn; `planar` gives the first half
            to height, the second to width, each the whole range (DINOv3, arXiv 2508.10104).
    """

    norm: Literal["rms", "layer"] = "rms"
    norm_bias: bool = False
    eps: float = 1e-6
    qkv_bias: bool | Sequence[bool] = False
    out_bias: bool = False
    mlp_bias: bool = False
    mlp_ratio: float = 8 / 3
    gated: bool = True
    act: str = "silu"
    qk_norm: bool = True
    layer_scale: float | None = None
    residual_init: Literal["zero", "normal"] = "zero"
    rope_theta: float | None = 10_000.0
    rope_sliding_theta: float | None = None
    rope_layout: Literal["interleaved", "planar"] = "interleaved"

    def __post_init__(self):
        if self.norm not in ("rms", "layer"):
            raise ValueError(f"block.norm={self.norm!r} is not one of rms, layer.")
        if self.residual_init not in ("zero", "normal"):
            raise ValueError(f"block.residual_init={self.residual_init!r} is not one of zero, normal.")
        if self.rope_layout not in ("interleaved", "planar"):
            raise ValueError(f"block.rope_layout={self.rope_layout!r} is not one of interleaved, planar.")
        if self.act not in ACT2FN:
            raise ValueError(f"block.act={self.act!r} is no activation of transformers; silu and gelu are.")
        if not isinstance(self.qkv_bias, bool) and len(self.qkv_bias) != 3:
            raise ValueError(
                f"block.qkv_bias={self.qkv_bias} must be one bool, or three: for query, key, value."
            )
        if self.mlp_ratio <= 0:
            raise ValueError(f"block.mlp_ratio={self.mlp_ratio} must be more than 0.")

    @property
    def qkv_biases(self) -> tuple[bool, bool, bool]:
        """Whether query, key and value have a bias."""
        if isinstance(self.qkv_bias, bool):
            return (self.qkv_bias,) * 3
        q, k, v = self.qkv_bias
        return q, k, v

    def mlp_dim(self, dim: int) -> int:
        """Hidden width of the feed-forward."""
        return round(self.mlp_ratio * dim / 8) * 8

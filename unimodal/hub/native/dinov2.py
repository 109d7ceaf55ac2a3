"""DINOv2 (arXiv 2304.07193), with a plain or a gated feed-forward."""

from typing import Any

import torch

from unimodal.hub.native.family import Family, Knob
from unimodal.hub.native.heads import Head
from unimodal.hub.native.tensors import Fused, Module, Neutral, Vector
from unimodal.hub.native.vit import (
    CLASSIC,
    EPS,
    IMAGE_PATCH,
    IMAGE_SIZE,
    LAYER,
    PATCH_SIZE,
    QKV_BIAS,
    SIZES,
    patches,
    prefixed,
)


def swiglu_dim(hidden: int) -> int:
    """Two thirds, rounded up to a multiple of 8."""
    return (int(hidden * 2 / 3) + 7) // 8 * 8


def _family(name: str, swiglu: bool, mlp: tuple[Knob, ...], fixed: dict[str, Any], layers: tuple) -> Family:
    return Family(
        name=name,
        model_type="dinov2",
        field="image",
        tokenizer=IMAGE_PATCH,
        knobs=(*SIZES, *mlp, EPS, QKV_BIAS, IMAGE_SIZE, PATCH_SIZE),
        fixed=CLASSIC
        | {"layer_scale": True, "tokenizer.num_prefix_tokens": 1, "tokenizer.learned_positions": True}
        | fixed,
        requires={"num_channels": 3, "use_swiglu_ffn": swiglu},
        layer="encoder.layer.{}.",
        layers=(
            Module("norm1", "attention_norm"),
            *LAYER[1:5],  # the attention is ViT's
            Vector("layer_scale1.lambda1", "attention_scale.weight"),
            Module("norm2", "mlp_norm"),
            *layers,
            Vector("layer_scale2.lambda1", "mlp_scale.weight"),
        ),
        tensors=(
            *prefixed("embeddings.cls_token"),
            Neutral("embeddings.mask_token", lambda s: torch.zeros(1, s["dim"])),
            *patches("embeddings.patch_embeddings.projection"),
            Module("layernorm", "norm"),
        ),
        heads=(Head("Dinov2Model"),),  # its classifier reads CLS and the patches' mean side by side
    )


FAMILIES = (
    _family(
        "dinov2",
        False,
        (
            Knob(
                "mlp_ratio",
                "mlp_dim",
                lambda c: int(c["hidden_size"] * c["mlp_ratio"]),
                lambda s: s["mlp_dim"] // s["dim"],
            ),
            Knob("hidden_act", "act"),
        ),
        {},
        (Module("mlp.fc1", "mlp.up"), Module("mlp.fc2", "mlp.down")),
    ),
    _family(
        "dinov2_swiglu",
        True,
        (
            Knob(
                "mlp_ratio",
                "mlp_dim",
                lambda c: swiglu_dim(int(c["hidden_size"] * c["mlp_ratio"])),
                lambda s: round(s["mlp_dim"] * 1.5 / s["dim"]),
            ),
        ),
        {"gated": True, "act": "silu"},
        (Fused("mlp.weights_in", ("mlp.gate", "mlp.up")), Module("mlp.weights_out", "mlp.down")),
    ),
)

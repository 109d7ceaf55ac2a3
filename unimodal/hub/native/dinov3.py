"""DINOv3 (arXiv 2508.10104): rotary positions that run over the image, whatever its size."""

import torch

from unimodal.hub.native.family import Family, Knob
from unimodal.hub.native.heads import Head
from unimodal.hub.native.tensors import Module, Neutral, Prefix, Vector
from unimodal.hub.native.vit import CLASSIC, EPS, IMAGE_PATCH, IMAGE_SIZE, MLP, PATCH_SIZE, SIZES, patches

BIASES = ("query_bias", "key_bias", "value_bias")

FAMILIES = (
    Family(
        name="dinov3",
        model_type="dinov3_vit",
        field="image",
        tokenizer=IMAGE_PATCH,
        knobs=(
            *SIZES,
            *MLP,
            EPS,
            IMAGE_SIZE,
            PATCH_SIZE,
            Knob("query_bias", "qkv_bias", lambda c: tuple(c[b] for b in BIASES), lambda s: s["qkv_bias"][0]),
            Knob("key_bias", "", None, lambda s: s["qkv_bias"][1]),
            Knob("value_bias", "", None, lambda s: s["qkv_bias"][2]),
            Knob("proj_bias", "out_bias"),
            Knob("mlp_bias", "mlp_bias"),
            Knob("use_gated_mlp", "gated"),
            Knob("rope_theta", "rope_theta"),
            Knob(
                "num_register_tokens",
                "tokenizer.num_prefix_tokens",
                lambda c: c["num_register_tokens"] + 1,
                lambda s: s["tokenizer.num_prefix_tokens"] - 1,
            ),
        ),
        fixed={key: CLASSIC[key] for key in ("norm", "norm_bias")}
        | {"layer_scale": True, "rope_layout": "planar", "tokenizer.centred_positions": True},
        requires={"num_channels": 3},
        layer="layer.{}.",
        layers=(
            Module("norm1", "attention_norm"),
            Module("attention.q_proj", "attention.query"),
            Module("attention.k_proj", "attention.key"),
            Module("attention.v_proj", "attention.value"),
            Module("attention.o_proj", "attention.out"),
            Vector("layer_scale1.lambda1", "attention_scale.weight"),
            Module("norm2", "mlp_norm"),
            Module("mlp.gate_proj", "mlp.gate"),
            Module("mlp.up_proj", "mlp.up"),
            Module("mlp.down_proj", "mlp.down"),
            Vector("layer_scale2.lambda1", "mlp_scale.weight"),
        ),
        tensors=(
            Prefix(("embeddings.cls_token", "embeddings.register_tokens"), "tokenizer.prefix"),
            Neutral("embeddings.mask_token", lambda s: torch.zeros(1, 1, s["dim"])),
            *patches("embeddings.patch_embeddings"),
            Module("norm", "norm"),
        ),
        heads=(Head("DINOv3ViTModel"),),
    ),
)

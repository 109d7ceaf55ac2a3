"""AIMv2's vision tower (arXiv 2411.14402)."""

from unimodal.hub.native.family import Family, Knob
from unimodal.hub.native.heads import Head
from unimodal.hub.native.tensors import Module, Vector
from unimodal.hub.native.vit import IMAGE_PATCH, IMAGE_SIZE, MLP, PATCH_SIZE, SIZES, patches

FAMILIES = (
    Family(
        name="aimv2",
        model_type="aimv2_vision_model",
        field="image",
        tokenizer=IMAGE_PATCH,
        knobs=(
            *SIZES,
            *MLP,
            IMAGE_SIZE,
            PATCH_SIZE,
            Knob("rms_norm_eps", "eps"),
            Knob("", "tokenizer.norm_eps", lambda c: c["rms_norm_eps"]),
            Knob("qkv_bias", "qkv_bias", lambda c: (c["qkv_bias"],) * 3, lambda s: s["out_bias"]),
            Knob("", "out_bias", lambda c: c["qkv_bias"]),
            Knob("mlp_bias", "mlp_bias"),
            Knob("is_native", "tokenizer.sincos_positions"),
            Knob("", "tokenizer.learned_positions", lambda c: not c["is_native"]),
        ),
        fixed={"norm": "rms", "gated": True},
        requires={"num_channels": 3},
        layer="encoder.layers.{}.",
        layers=(
            Module("rms_norm1", "attention_norm"),
            Module("attention.q_proj", "attention.query"),
            Module("attention.k_proj", "attention.key", bias="zero"),
            Module("attention.v_proj", "attention.value"),
            Module("attention.out_proj", "attention.out"),
            Module("rms_norm2", "mlp_norm"),
            Module("ffn.gate_proj", "mlp.gate"),
            Module("ffn.up_proj", "mlp.up"),
            Module("ffn.down_proj", "mlp.down"),
        ),
        tensors=(
            *patches("embeddings.patch_embed"),
            Module("embeddings.rms_norm", "tokenizer.norm"),
            Vector("embeddings.position_embedding.weight", "tokenizer.position_table"),
            Module("rms_norm", "norm"),
        ),
        heads=(Head("Aimv2VisionModel", config=lambda s: {"use_head": False}),),
        part="vision_config",
        prefix="vision_model.",
    ),
)

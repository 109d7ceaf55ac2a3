"""The two towers of CLIP (arXiv 2103.00020)."""

import torch

from unimodal.hub.native.family import Family, Knob
from unimodal.hub.native.heads import Head
from unimodal.hub.native.tensors import Module, Neutral, Prefix, Reshaped, Vector
from unimodal.hub.native.vit import CLASSIC, EPS, IMAGE_PATCH, IMAGE_SIZE, MLP, PATCH_SIZE, SIZES, kernel

TEXT = "unimodal.tokenizers.text.TextTokenizer"
BIASED = CLASSIC | {"qkv_bias": (True, True, True)}

LAYER = (
    Module("layer_norm1", "attention_norm"),
    Module("self_attn.q_proj", "attention.query"),
    Module("self_attn.k_proj", "attention.key", bias="zero"),
    Module("self_attn.v_proj", "attention.value"),
    Module("self_attn.out_proj", "attention.out"),
    Module("layer_norm2", "mlp_norm"),
    Module("mlp.fc1", "mlp.up"),
    Module("mlp.fc2", "mlp.down"),
)
TEXT_KNOBS = (
    Knob("vocab_size", "tokenizer.vocab_size"),
    Knob("max_position_embeddings", "tokenizer.max_len"),
)
TEXT_TENSORS = (
    Vector("embeddings.token_embedding.weight", "tokenizer.embedding.weight"),
    Vector("embeddings.position_embedding.weight", "tokenizer.position_table"),
    Module("final_layer_norm", "norm"),
)

FAMILIES = (
    Family(
        name="clip_vision",
        model_type="clip_vision_model",
        field="image",
        tokenizer=IMAGE_PATCH,
        knobs=(*SIZES, *MLP, EPS, IMAGE_SIZE, PATCH_SIZE),
        fixed=BIASED
        | {
            "input_norm": "before",
            "final_norm": False,  # the stock class norms its pooled output only
            "tokenizer.num_prefix_tokens": 1,
            "tokenizer.learned_positions": True,
            "tokenizer.bias": False,
        },
        requires={"num_channels": 3},
        layer="encoder.layers.{}.",
        layers=LAYER,
        tensors=(
            Prefix(("embeddings.class_embedding",), "tokenizer.prefix", axes=1),
            Vector("embeddings.position_embedding.weight", "tokenizer.position_table"),
            Reshaped("embeddings.patch_embedding.weight", "tokenizer.project.weight", kernel, flat=True),
            Module("pre_layrnorm", "input_norm"),
            Neutral("post_layernorm.weight", lambda s: torch.ones(s["dim"])),
            Neutral("post_layernorm.bias", lambda s: torch.zeros(s["dim"])),
        ),
        heads=(Head("CLIPVisionModel"),),
        part="vision_config",
        prefix="vision_model.",
    ),
    Family(
        name="clip_text",
        model_type="clip_text_model",
        field="text",
        tokenizer=TEXT,
        knobs=(*SIZES, *MLP, EPS, *TEXT_KNOBS),
        fixed=BIASED | {"tokenizer.learned_positions": True},
        layer="encoder.layers.{}.",
        layers=LAYER,
        tensors=TEXT_TENSORS,
        heads=(Head("CLIPTextModel"),),
        part="text_config",
        prefix="text_model.",
        causal=True,
    ),
)

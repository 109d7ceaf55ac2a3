"""The two towers of SigLIP (arXiv 2303.15343); as CLIP's, without CLS token and causal mask."""

import torch

from unimodal.hub.native.clip import BIASED, LAYER, TEXT, TEXT_KNOBS, TEXT_TENSORS
from unimodal.hub.native.family import Family
from unimodal.hub.native.heads import Head
from unimodal.hub.native.tensors import Module, Neutral, Vector
from unimodal.hub.native.vit import EPS, IMAGE_PATCH, IMAGE_SIZE, MLP, PATCH_SIZE, SIZES, patches

FAMILIES = (
    Family(
        name="siglip_vision",
        model_type="siglip_vision_model",
        field="image",
        tokenizer=IMAGE_PATCH,
        knobs=(*SIZES, *MLP, EPS, IMAGE_SIZE, PATCH_SIZE),
        fixed=BIASED | {"tokenizer.learned_positions": True},
        requires={"num_channels": 3},
        layer="encoder.layers.{}.",
        layers=LAYER,
        tensors=(
            Vector("embeddings.position_embedding.weight", "tokenizer.position_table"),
            *patches("embeddings.patch_embedding"),
            Module("post_layernorm", "norm"),
        ),
        heads=(Head("SiglipVisionModel", config=lambda s: {"vision_use_head": False}),),
        part="vision_config",
        prefix="vision_model.",
    ),
    Family(
        name="siglip_text",
        model_type="siglip_text_model",
        field="text",
        tokenizer=TEXT,
        knobs=(*SIZES, *MLP, EPS, *TEXT_KNOBS),
        fixed=BIASED | {"tokenizer.learned_positions": True},
        layer="encoder.layers.{}.",
        layers=LAYER,
        tensors=(
            *TEXT_TENSORS,
            Neutral("head.weight", lambda s: torch.eye(s["dim"])),
            Neutral("head.bias", lambda s: torch.zeros(s["dim"])),
        ),
        heads=(Head("SiglipTextModel", config=lambda s: {"projection_size": s["dim"]}),),
        part="text_config",
        prefix="text_model.",
    ),
)

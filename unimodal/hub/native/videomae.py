"""VideoMAE (arXiv 2203.12602): no CLS token, fixed positions, no key bias at all."""

from unimodal.hub.native.family import Family, Knob
from unimodal.hub.native.heads import Head, pooled
from unimodal.hub.native.tensors import Module
from unimodal.hub.native.video import FRAMES, TUBELET, kernel
from unimodal.hub.native.vit import CLASSIC, EPS, LAYER, MLP, PATCH_SIZE, SIZES, patches

STOCK, PREFIX = "VideoMAEForVideoClassification", "videomae."
ATTENTION = "attention.attention."

FAMILIES = (
    Family(
        name="videomae",
        model_type="videomae",
        field="video",
        tokenizer=TUBELET,
        knobs=(
            *SIZES,
            *MLP,
            EPS,
            *FRAMES,
            PATCH_SIZE,
            Knob("tubelet_size", "tokenizer.tubelet_size"),
            Knob(
                "qv_bias",
                "qkv_bias",
                lambda c: (c["qv_bias"], False, c["qv_bias"]),
                lambda s: s["qkv_bias"][0],
            ),
            Knob(
                "use_mean_pooling",
                "final_norm",
                lambda c: not c["use_mean_pooling"],
                lambda s: not s["final_norm"],
            ),
        ),
        fixed=CLASSIC | {"tokenizer.sincos_positions": True},
        requires={"num_channels": 3},
        layer="encoder.layer.{}.",
        layers=(
            LAYER[0],
            Module(f"{ATTENTION}query", "attention.query", bias_name=f"{ATTENTION}q_bias"),
            Module(f"{ATTENTION}key", "attention.key"),
            Module(f"{ATTENTION}value", "attention.value", bias_name=f"{ATTENTION}v_bias"),
            *LAYER[4:],
        ),
        tensors=(*patches("embeddings.patch_embeddings.projection", kernel), Module("layernorm", "norm")),
        heads=(
            pooled(
                STOCK,
                PREFIX,
                "mean",
                entries=(Module("fc_norm", "head_norm"),),
                needs={"head_norm": True, "head_norm_eps": 1e-5},
                spec={"final_norm": False},
            ),
            pooled(STOCK, PREFIX, "first 1", spec={"final_norm": True}),
            Head("VideoMAEModel"),
        ),
    ),
)

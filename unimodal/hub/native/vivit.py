"""ViViT (arXiv 2103.15691), the model of spatio-temporal attention."""

from unimodal.hub.native.family import Config, Family, Knob
from unimodal.hub.native.heads import Head, pooled
from unimodal.hub.native.tensors import Module
from unimodal.hub.native.video import FRAMES, TUBELET, kernel
from unimodal.hub.native.vit import CLASSIC, EPS, LAYER, MLP, POOLER, QKV_BIAS, SIZES, patches, prefixed


def _patch_size(config: Config) -> int | None:
    """Of a square tubelet; no number equals that of another."""
    _, height, width = config["tubelet_size"]
    return height if height == width else None


FAMILIES = (
    Family(
        name="vivit",
        model_type="vivit",
        field="video",
        tokenizer=TUBELET,
        knobs=(
            *SIZES,
            *MLP,
            EPS,
            QKV_BIAS,
            *FRAMES,
            Knob(
                "tubelet_size",
                "tokenizer.tubelet_size",
                lambda c: c["tubelet_size"][0],
                lambda s: [s["tokenizer.tubelet_size"], *[s["tokenizer.patch_size"]] * 2],
            ),
            Knob("", "tokenizer.patch_size", _patch_size),
        ),
        fixed=CLASSIC | {"tokenizer.num_prefix_tokens": 1, "tokenizer.learned_positions": True},
        requires={"num_channels": 3},
        layer="encoder.layer.{}.",
        layers=LAYER,
        tensors=(
            *prefixed("embeddings.cls_token"),
            *patches("embeddings.patch_embeddings.projection", kernel),
            Module("layernorm", "norm"),
        ),
        heads=(
            pooled("VivitForVideoClassification", "vivit.", "first 1"),
            Head("VivitModel", missing=POOLER),
        ),
    ),
)

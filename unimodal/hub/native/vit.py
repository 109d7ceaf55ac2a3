"""ViT (arXiv 2010.11929) and DeiT (arXiv 2012.12877), and what other encoders have in common with them."""

from unimodal.hub.native.family import Config, Family, Knob
from unimodal.hub.native.heads import Head, pooled
from unimodal.hub.native.spec import Spec
from unimodal.hub.native.tensors import Module, Prefix, Reshaped, Shape, Vector

IMAGE_PATCH = "unimodal.tokenizers.image.ImagePatchTokenizer"

SIZES = (
    Knob("hidden_size", "dim"),
    Knob("num_hidden_layers", "depth"),
    Knob("num_attention_heads", "num_heads"),
    Knob("", "num_kv_heads", lambda c: c["num_attention_heads"]),
    Knob("", "head_dim", lambda c: c["hidden_size"] // c["num_attention_heads"]),
)
MLP = (Knob("intermediate_size", "mlp_dim"), Knob("hidden_act", "act"))
EPS = Knob("layer_norm_eps", "eps")
QKV_BIAS = Knob("qkv_bias", "qkv_bias", lambda c: (c["qkv_bias"],) * 3, lambda s: s["qkv_bias"][0])

CLASSIC = {"norm": "layer", "norm_bias": True, "out_bias": True, "mlp_bias": True, "gated": False}

LAYER = (
    Module("layernorm_before", "attention_norm"),
    Module("attention.attention.query", "attention.query"),
    Module("attention.attention.key", "attention.key", bias="zero"),
    Module("attention.attention.value", "attention.value"),
    Module("attention.output.dense", "attention.out"),
    Module("layernorm_after", "mlp_norm"),
    Module("intermediate.dense", "mlp.up"),
    Module("output.dense", "mlp.down"),
)


def height_and_width(size: int | list[int]) -> list[int]:
    """Of one number or two."""
    return [size, size] if isinstance(size, int) else list(size)


def image_size(spec: Spec) -> int | list[int]:
    """One number where height and width agree, which is what most stock classes can read."""
    height, width = height_and_width(spec["tokenizer.image_size"])
    return height if height == width else [height, width]


def square(config: Config) -> int:
    """The side of a patch; two sides that differ are left as they are and so do not fit."""
    size = config["patch_size"]
    return size if isinstance(size, int) or len(set(size)) > 1 else size[0]


def whole_patches(config: Config) -> list[int]:
    """Height and width without what is left over beside the last patch, which the stock classes ignore."""
    patch = square(config)
    return [
        side - side % patch if isinstance(patch, int) else side
        for side in height_and_width(config["image_size"])
    ]


def kernel(spec: Spec) -> tuple[int, ...]:
    """Shape of the convolution over pixels."""
    size = spec["tokenizer.patch_size"]
    return spec["dim"], 3, size, size


POOLER = ("pooler.dense.weight", "pooler.dense.bias")
IMAGE_SIZE = Knob("image_size", "tokenizer.image_size", whole_patches, image_size)
PATCH_SIZE = Knob("patch_size", "tokenizer.patch_size", square)


def patches(theirs: str, shape: Shape = kernel) -> tuple[Reshaped | Vector, ...]:
    """A convolution there, a linear layer over flat patches here."""
    return (
        Reshaped(f"{theirs}.weight", "tokenizer.project.weight", shape, flat=True),
        Vector(f"{theirs}.bias", "tokenizer.project.bias"),
    )


def prefixed(*names: str) -> tuple[Prefix, Reshaped]:
    """Prefix tokens, and a table of positions for them and what follows."""
    return (
        Prefix(names, "tokenizer.prefix"),
        Reshaped("embeddings.position_embeddings", "tokenizer.position_table", lambda s: (1, -1, s["dim"])),
    )


def _family(name: str, stock: str, prefix_tokens: tuple[str, ...]) -> Family:
    return Family(
        name=name,
        model_type=name,
        field="image",
        tokenizer=IMAGE_PATCH,
        knobs=(*SIZES, *MLP, EPS, QKV_BIAS, IMAGE_SIZE, PATCH_SIZE),
        fixed=CLASSIC
        | {"tokenizer.num_prefix_tokens": len(prefix_tokens), "tokenizer.learned_positions": True},
        requires={"num_channels": 3},
        layer="encoder.layer.{}.",
        layers=LAYER,
        tensors=(
            *prefixed(*prefix_tokens),
            *patches("embeddings.patch_embeddings.projection"),
            Module("layernorm", "norm"),
        ),
        heads=(
            pooled(f"{stock}ForImageClassification", f"{name}.", "first 1"),
            Head(f"{stock}Model", missing=POOLER),
        ),
    )


FAMILIES = (
    _family("vit", "ViT", ("embeddings.cls_token",)),
    _family("deit", "DeiT", ("embeddings.cls_token", "embeddings.distillation_token")),
)

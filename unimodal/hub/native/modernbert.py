"""ModernBERT (arXiv 2412.13663): sliding windows, two rotary bases, the first norm after the embedding."""

from unimodal.hub.native.clip import TEXT
from unimodal.hub.native.family import Config, Family, Knob
from unimodal.hub.native.heads import Head
from unimodal.hub.native.llama import theta
from unimodal.hub.native.spec import Spec
from unimodal.hub.native.tensors import Fused, Module, Vector
from unimodal.hub.native.vit import SIZES

KINDS = {"full_attention": "full", "sliding_attention": "sliding"}
NAMES = {ours: theirs for theirs, ours in KINDS.items()}


def _layer_types(config: Config) -> list[str] | None:
    kinds = [KINDS[kind] for kind in config["layer_types"]]
    return kinds if "sliding" in kinds else None


def _names(spec: Spec) -> list[str]:
    return [NAMES.get(kind, kind) for kind in spec["layer_types"] or ["full"] * spec["depth"]]


def _sliding(config: Config, value: float) -> float | None:
    return value if _layer_types(config) else None


def _rope(spec: Spec) -> dict[str, dict[str, float | str | None]]:
    full = spec["rope_theta"]
    thetas = {"full_attention": full, "sliding_attention": spec["rope_sliding_theta"] or full}
    return {kind: {"rope_type": "default", "rope_theta": value} for kind, value in thetas.items()}


FAMILIES = (
    Family(
        name="modernbert",
        model_type="modernbert",
        field="text",
        tokenizer=TEXT,
        knobs=(
            *SIZES,
            Knob("intermediate_size", "mlp_dim"),
            Knob("hidden_activation", "act"),
            Knob("norm_eps", "eps"),
            Knob("norm_bias", "norm_bias"),
            Knob("attention_bias", "qkv_bias", lambda c: (c["attention_bias"],) * 3, lambda s: s["out_bias"]),
            Knob("", "out_bias", lambda c: c["attention_bias"]),
            Knob("mlp_bias", "mlp_bias"),
            Knob("layer_types", "layer_types", _layer_types, _names),
            Knob(
                "local_attention",
                "window",
                lambda c: _sliding(c, c["local_attention"] // 2),
                lambda s: 2 * (s["window"] or 64),
            ),
            Knob(
                "rope_parameters",
                "rope_theta",
                lambda c: theta(c["rope_parameters"]["full_attention"]),
                _rope,
            ),
            Knob(
                "",
                "rope_sliding_theta",
                lambda c: _sliding(c, theta(c["rope_parameters"]["sliding_attention"])),
            ),
            Knob("vocab_size", "tokenizer.vocab_size"),
            Knob("max_position_embeddings", "tokenizer.max_len"),
        ),
        fixed={"norm": "layer", "gated": True, "input_norm": "instead"},
        layer="layers.{}.",
        layers=(
            Module("attn_norm", "attention_norm"),
            Fused("attn.Wqkv", ("attention.query", "attention.key", "attention.value"), heads=True),
            Module("attn.Wo", "attention.out"),
            Module("mlp_norm", "mlp_norm"),
            Fused("mlp.Wi", ("mlp.gate", "mlp.up")),
            Module("mlp.Wo", "mlp.down"),
        ),
        tensors=(
            Vector("embeddings.tok_embeddings.weight", "tokenizer.embedding.weight"),
            Module("embeddings.norm", "input_norm"),
            Module("final_norm", "norm"),
        ),
        heads=(Head("ModernBertModel"),),
    ),
)

"""Llama (arXiv 2302.13971) and its kin: Qwen2, Qwen3, SmolLM3, and EuroBERT, which reads both ways."""

from typing import Any

from unimodal.hub.native.clip import TEXT
from unimodal.hub.native.family import Config, Family, Knob, Misfit
from unimodal.hub.native.heads import Head, language_model, last_token
from unimodal.hub.native.spec import Spec
from unimodal.hub.native.tensors import Module, Vector

PREFIX = "model."
MODERN = {"norm": "rms", "gated": True}
NO_WINDOW = {"use_sliding_window": False}

SIZES = (
    Knob("hidden_size", "dim"),
    Knob("num_hidden_layers", "depth"),
    Knob("num_attention_heads", "num_heads"),
    Knob("num_key_value_heads", "num_kv_heads"),
    Knob("intermediate_size", "mlp_dim"),
    Knob("hidden_act", "act"),
    Knob("rms_norm_eps", "eps"),
    Knob("vocab_size", "tokenizer.vocab_size"),
    Knob("max_position_embeddings", "tokenizer.max_len"),
    Knob("tie_word_embeddings", "tied"),
)
HEAD_DIM = Knob("head_dim", "head_dim")
DERIVED_HEAD_DIM = Knob("", "head_dim", lambda c: c["hidden_size"] // c["num_attention_heads"])
MLP_BIAS = Knob("mlp_bias", "mlp_bias")
BIASES = (
    Knob("attention_bias", "qkv_bias", lambda c: (c["attention_bias"],) * 3, lambda s: s["out_bias"]),
    Knob("", "out_bias", lambda c: c["attention_bias"]),
)


def theta(rope: Config) -> float:
    """The base of rotary positions that nothing scales.

    Raises:
        Misfit: if something does.
    """
    if rope.get("rope_type", "default") != "default":
        raise Misfit(f"config.json: rope_type={rope['rope_type']} is none of what the block can do.")
    return rope["rope_theta"]


ROPE = Knob(
    "rope_parameters",
    "rope_theta",
    lambda c: theta(c["rope_parameters"]),
    lambda s: {"rope_type": "default", "rope_theta": s["rope_theta"]},
)


def _unrotated(config: Config) -> list[str] | None:
    kinds = ["full" if rotated else "unrotated" for rotated in config["no_rope_layers"]]
    return kinds if "unrotated" in kinds else None


def _rotated(spec: Spec) -> list[int]:
    kinds = spec["layer_types"] or ["full"] * spec["depth"]
    return [int(kind != "unrotated") for kind in kinds]


LAYER = (
    Module("input_layernorm", "attention_norm"),
    Module("self_attn.q_proj", "attention.query"),
    Module("self_attn.k_proj", "attention.key", bias="zero"),
    Module("self_attn.v_proj", "attention.value"),
    Module("self_attn.o_proj", "attention.out"),
    Module("post_attention_layernorm", "mlp_norm"),
    Module("mlp.gate_proj", "mlp.gate"),
    Module("mlp.up_proj", "mlp.up"),
    Module("mlp.down_proj", "mlp.down"),
)
QK_NORM = (
    Module("self_attn.q_norm", "attention.query_norm"),
    Module("self_attn.k_norm", "attention.key_norm"),
)


def _family(name: str, stock: str, *knobs: Knob, **more: Any) -> Family:
    heads = (
        language_model(f"{stock}ForCausalLM", PREFIX, "embed_tokens"),
        last_token(f"{stock}ForSequenceClassification", PREFIX),
        Head(f"{stock}Model"),
    )
    settings: dict[str, Any] = {"heads": heads, "causal": True, "layers": LAYER} | more
    return Family(
        name=name,
        model_type=name,
        field="text",
        tokenizer=TEXT,
        knobs=(*SIZES, ROPE, *knobs),
        fixed=MODERN | settings.pop("fixed", {}),
        layer="layers.{}.",
        tensors=(Vector("embed_tokens.weight", "tokenizer.embedding.weight"), Module("norm", "norm")),
        **settings,
    )


FAMILIES = (
    _family("llama", "Llama", HEAD_DIM, MLP_BIAS, *BIASES),
    _family(
        "qwen2",
        "Qwen2",
        DERIVED_HEAD_DIM,
        fixed={"qkv_bias": (True, True, True), "out_bias": False, "mlp_bias": False},
        requires=NO_WINDOW,
    ),
    _family(
        "qwen3",
        "Qwen3",
        HEAD_DIM,
        *BIASES,
        fixed={"qk_norm": True, "mlp_bias": False},
        requires=NO_WINDOW,
        layers=(*LAYER, *QK_NORM),
    ),
    _family(
        "smollm3",
        "SmolLM3",
        DERIVED_HEAD_DIM,
        MLP_BIAS,
        *BIASES,
        Knob("no_rope_layers", "layer_types", _unrotated, _rotated),
        requires=NO_WINDOW,
    ),
    _family(
        "eurobert", "EuroBert", HEAD_DIM, MLP_BIAS, *BIASES, heads=(Head("EuroBertModel"),), causal=False
    ),
)

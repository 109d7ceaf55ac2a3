"""GPT-2 (Radford et al. 2019): query, key and value in one transposed matrix, learned positions."""

from unimodal.hub.native.clip import BIASED, TEXT
from unimodal.hub.native.family import Family, Knob
from unimodal.hub.native.heads import Head, language_model, last_token
from unimodal.hub.native.spec import Spec
from unimodal.hub.native.tensors import Fused, Module, Vector

PREFIX = "transformer."


def _inner(spec: Spec) -> int | None:
    """None stands for four times the width."""
    return None if spec["mlp_dim"] == 4 * spec["dim"] else spec["mlp_dim"]


FAMILIES = (
    Family(
        name="gpt2",
        model_type="gpt2",
        field="text",
        tokenizer=TEXT,
        knobs=(
            Knob("n_embd", "dim"),
            Knob("n_layer", "depth"),
            Knob("n_head", "num_heads"),
            Knob("", "num_kv_heads", lambda c: c["n_head"]),
            Knob("", "head_dim", lambda c: c["n_embd"] // c["n_head"]),
            Knob("n_inner", "mlp_dim", lambda c: c["n_inner"] or 4 * c["n_embd"], _inner),
            Knob("activation_function", "act"),
            Knob("layer_norm_epsilon", "eps"),
            Knob("vocab_size", "tokenizer.vocab_size"),
            Knob("n_positions", "tokenizer.max_len"),
            Knob("tie_word_embeddings", "tied"),
        ),
        fixed=BIASED | {"tokenizer.learned_positions": True},
        requires={
            "scale_attn_weights": True,
            "scale_attn_by_inverse_layer_idx": False,
            "add_cross_attention": False,
        },
        layer="h.{}.",
        layers=(
            Module("ln_1", "attention_norm"),
            Fused("attn.c_attn", ("attention.query", "attention.key", "attention.value"), True, heads=True),
            Fused("attn.c_proj", ("attention.out",), transposed=True),
            Module("ln_2", "mlp_norm"),
            Fused("mlp.c_fc", ("mlp.up",), transposed=True),
            Fused("mlp.c_proj", ("mlp.down",), transposed=True),
        ),
        tensors=(
            Vector("wte.weight", "tokenizer.embedding.weight"),
            Vector("wpe.weight", "tokenizer.position_table"),
            Module("ln_f", "norm"),
        ),
        heads=(
            language_model("GPT2LMHeadModel", PREFIX, "wte"),
            last_token("GPT2ForSequenceClassification", PREFIX),
            Head("GPT2Model"),
        ),
        causal=True,
    ),
)

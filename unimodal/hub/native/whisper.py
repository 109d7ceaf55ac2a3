"""Whisper's encoder (arXiv 2212.04356)."""

import torch

from unimodal.hub.native.clip import LAYER
from unimodal.hub.native.family import Family, Knob
from unimodal.hub.native.heads import pooled
from unimodal.hub.native.tensors import Module, Neutral, Vector
from unimodal.hub.native.vit import CLASSIC

FAMILIES = (
    Family(
        name="whisper",
        model_type="whisper",
        field="audio",
        tokenizer="unimodal.tokenizers.audio_whisper.AudioWhisperTokenizer",
        knobs=(
            Knob("d_model", "dim"),
            Knob("encoder_layers", "depth"),
            Knob("encoder_attention_heads", "num_heads"),
            Knob("", "num_kv_heads", lambda c: c["encoder_attention_heads"]),
            Knob("", "head_dim", lambda c: c["d_model"] // c["encoder_attention_heads"]),
            Knob("encoder_ffn_dim", "mlp_dim"),
            Knob("activation_function", "act"),
            Knob("num_mel_bins", "tokenizer.n_mels"),
            Knob("max_source_positions", "tokenizer.num_positions"),
        ),
        fixed=CLASSIC | {"eps": 1e-5, "qkv_bias": (True, False, True), "tokenizer.learned_positions": True},
        requires={"scale_embedding": False},
        layer="encoder.layers.{}.",
        layers=(
            Module("self_attn_layer_norm", "attention_norm"),
            *LAYER[1:2],
            Module("self_attn.k_proj", "attention.key"),
            *LAYER[3:5],
            Module("final_layer_norm", "mlp_norm"),
            Module("fc1", "mlp.up"),
            Module("fc2", "mlp.down"),
        ),
        tensors=(
            Module("encoder.conv1", "tokenizer.conv1"),
            Module("encoder.conv2", "tokenizer.conv2"),
            Vector("encoder.embed_positions.weight", "tokenizer.position_table"),
            Module("encoder.layer_norm", "norm"),
        ),
        heads=(
            pooled(  # a projection before the mean, which stays out of the way
                "WhisperForAudioClassification",
                "",
                "mean",
                entries=(
                    Neutral("projector.weight", lambda s: torch.eye(s["dim"])),
                    Neutral("projector.bias", lambda s: torch.zeros(s["dim"])),
                ),
                config=lambda s: {"classifier_proj_size": s["dim"], "use_weighted_layer_sum": False},
            ),
        ),
    ),
)

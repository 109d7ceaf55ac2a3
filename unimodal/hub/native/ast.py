"""The Audio Spectrogram Transformer (arXiv 2104.01778): ViT's layers over patches of a filterbank."""

from unimodal.hub.native.family import Family, Knob
from unimodal.hub.native.heads import Head, pooled
from unimodal.hub.native.spec import Spec
from unimodal.hub.native.tensors import Module
from unimodal.hub.native.vit import CLASSIC, EPS, LAYER, MLP, PATCH_SIZE, QKV_BIAS, SIZES, patches, prefixed

BACKBONE = "audio_spectrogram_transformer."


def _kernel(spec: Spec) -> tuple[int, ...]:
    size = spec["tokenizer.patch_size"]
    return spec["dim"], 1, size, size


FAMILIES = (
    Family(
        name="ast",
        model_type="audio-spectrogram-transformer",
        field="audio",
        tokenizer="unimodal.tokenizers.audio_spectrogram.AudioSpectrogramTokenizer",
        knobs=(
            *SIZES,
            *MLP,
            EPS,
            QKV_BIAS,
            PATCH_SIZE,
            Knob("max_length", "tokenizer.num_frames"),
            Knob("num_mel_bins", "tokenizer.n_mels"),
            Knob("frequency_stride", "tokenizer.frequency_stride"),
            Knob("time_stride", "tokenizer.time_stride"),
        ),
        fixed=CLASSIC | {"tokenizer.num_prefix_tokens": 2, "tokenizer.learned_positions": True},
        layer="encoder.layer.{}.",
        layers=LAYER,
        tensors=(
            *prefixed("embeddings.cls_token", "embeddings.distillation_token"),
            *patches("embeddings.patch_embeddings.projection", _kernel),
            Module("layernorm", "norm"),
        ),
        heads=(
            pooled(
                "ASTForAudioClassification",
                BACKBONE,
                "first 2",
                "classifier.dense",
                entries=(Module("classifier.layernorm", "head_norm"),),
                needs={"head_norm": True, "head_norm_eps": lambda s: s["eps"]},
            ),
            Head("ASTModel"),
        ),
    ),
)

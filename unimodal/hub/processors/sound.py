"""Sound: a waveform as it is, or the fbank that a native model reads."""

from typing import Any

from transformers import ASTFeatureExtractor, Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

from unimodal.hub.processors.arguments import arguments
from unimodal.hub.trained import Node
from unimodal.tokenizers.whisper_mel import HOP_LENGTH

FRAMES_PER_TOKEN = 2  # which Whisper's second convolution strides over

FeatureExtractor = ASTFeatureExtractor | Wav2Vec2FeatureExtractor | WhisperFeatureExtractor


def feature_extractor(node: Node, portable: bool) -> FeatureExtractor:
    """For the model of this tokenizer: a portable one computes its mel itself and reads waveforms.

    The waveform's extractor does not cut: only a call says `max_length`, so the model has to.

    Raises:
        ValueError: if the tokenizer is none that a native model has.
    """
    knobs = arguments(node)
    if portable:
        return Wav2Vec2FeatureExtractor(
            sampling_rate=knobs["sample_rate"], do_normalize=False, return_attention_mask=True
        )
    name = node["_target_"].rpartition(".")[2]
    if name == "AudioSpectrogramTokenizer":
        return _ast(knobs)
    if name == "AudioWhisperTokenizer":
        return _whisper(knobs)
    raise ValueError(
        f"no stock feature extractor computes what {name} reads; "
        "take tokenizer=audio_spectrogram, or format=portable."
    )


def _ast(knobs: dict[str, Any]) -> ASTFeatureExtractor:
    return ASTFeatureExtractor(
        sampling_rate=knobs["sample_rate"],
        num_mel_bins=knobs["n_mels"],
        max_length=knobs["num_frames"],
        do_normalize=True,
        mean=knobs["mean"],
        std=knobs["std"] / 2,  # it divides by twice its std
    )


def _whisper(knobs: dict[str, Any]) -> WhisperFeatureExtractor:
    rate, num_positions = knobs["sample_rate"], knobs["num_positions"]
    num_samples = num_positions * FRAMES_PER_TOKEN * HOP_LENGTH
    if num_samples % rate:
        raise ValueError(
            f"WhisperFeatureExtractor cuts to whole seconds: tokenizer.num_positions={num_positions} at "
            f"{rate} Hz are {num_samples / rate:g} s."
        )
    return WhisperFeatureExtractor(
        feature_size=knobs["n_mels"],
        sampling_rate=rate,
        hop_length=HOP_LENGTH,
        chunk_length=num_samples // rate,
    )


def read_sound(values: dict[str, Any]) -> dict[str, Any]:
    """Knobs of an audio tokenizer.

    Args:
        values: of a stock feature extractor, its class's defaults filled in.

    Returns:
        `sample_rate`, and of an fbank what the extractor says of `n_mels`, `num_frames`, `num_positions`,
        `mean` and `std` (the whole divisor).
    """
    rate = values["sampling_rate"]
    knobs: dict[str, Any] = {"sample_rate": rate}
    if values["kind"] == "ASTFeatureExtractor":
        normal = values["do_normalize"]
        knobs |= {"n_mels": values["num_mel_bins"], "num_frames": values["max_length"]}
        knobs |= {"mean": values["mean"] if normal else 0.0, "std": 2 * values["std"] if normal else 1.0}
    if values["kind"] == "WhisperFeatureExtractor":
        num_frames = values["chunk_length"] * rate // values["hop_length"]
        knobs |= {"n_mels": values["feature_size"], "num_positions": num_frames // FRAMES_PER_TOKEN}
    return knobs

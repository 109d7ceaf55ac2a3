"""Whisper's embedding: every clip becomes one spectrogram of a fixed length, read by two convolutions."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unimodal.tokenizers.audio import AudioPreprocess, AudioTokens
from unimodal.tokenizers.base import Tokenizer, check_positive
from unimodal.tokenizers.pixels import grid
from unimodal.tokenizers.whisper_mel import HOP_LENGTH, WhisperMel
from unimodal.types import Batch, TokenSequence, full_mask


class AudioWhisperTokenizer(Tokenizer):
    """Two convolutions over Whisper's log-mel frames (Radford et al. 2022, arXiv 2212.04356).

    The second has stride 2; each is followed by GELU, exactly as in the stock encoder.
    Longer clips are cut, shorter ones filled up with silence, which attention sees: nothing is masked. The
    p-th token stands at (p, p, p), as text does.

    Args:
        dim: the shared width.
        sample_rate: in Hz, at least 16,000; sound is resampled to it.
        n_mels: mel bands.
        num_positions: tokens of every clip, each of 320 samples: fifty a second at 16 kHz.
        num_prefix_tokens: learned tokens before the sequence; the stock encoder has none.
        learned_positions: add a learned vector for each place, as the stock encoder does.

    Raises:
        ValueError: if a size is not more than 0 or the sample rate too low.
    """

    input_key = "input_values"

    def __init__(
        self,
        dim: int,
        sample_rate: int = 16_000,
        n_mels: int = 80,
        num_positions: int = 1500,
        num_prefix_tokens: int = 0,
        learned_positions: bool = True,
    ):
        check_positive(n_mels=n_mels, num_positions=num_positions)
        super().__init__(dim, num_prefix_tokens, num_positions if learned_positions else 0)
        self.num_frames = 2 * num_positions
        self.num_samples = self.num_frames * HOP_LENGTH
        seconds = self.num_samples / sample_rate
        counts = AudioTokens(num_prefix_tokens + num_positions)
        self.preprocess = AudioPreprocess(sample_rate, seconds, HOP_LENGTH, n_mels, tokens=counts)
        self.mel = WhisperMel(sample_rate, n_mels)
        self.conv1 = nn.Conv1d(n_mels, dim, 3, padding=1)
        self.conv2 = nn.Conv1d(dim, dim, 3, stride=2, padding=1)
        for layer in (self.conv1, self.conv2):
            nn.init.kaiming_normal_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    @property
    def token_times(self) -> tuple[float, float]:
        """The second convolution's stride is 2 frames; frame i is centred on sample i * hop."""
        return 0.0, 2 * HOP_LENGTH / self.preprocess.sample_rate

    def spectrogram(self, batch: Batch) -> Tensor:
        """[B, S] -> [B, 2 * num_positions, n_mels]; what WhisperFeatureExtractor gives for each clip alone.

        What a `spectrogram_mask` hides is 0 afterwards, as in the stock model's own SpecAugment.
        """
        samples, real = batch["input_values"][:, : self.num_samples], batch.get("input_values_mask")
        if real is not None:
            real = real[:, : self.num_samples]
            samples = samples * real
        mel = self.mel(F.pad(samples, (0, self.num_samples - samples.shape[1])))
        if "spectrogram_mask" in batch:
            mel = mel * self._visible(batch["spectrogram_mask"].bool(), real)
        return mel

    def _visible(self, mask: Tensor, real: Tensor | None) -> Tensor:
        """The mask [B, T, n_mels] over all frames: the silence after the clip is never hidden."""
        mask = mask[:, : self.num_frames]
        if real is not None:  # the mask was itself padded, with what would hide
            ends = real.sum(1) // HOP_LENGTH + 1
            mask = mask | (torch.arange(mask.shape[1], device=mask.device) >= ends[:, None])[..., None]
        return F.pad(mask, (0, 0, 0, self.num_frames - mask.shape[1]), value=True)

    def tokenize(self, batch: Batch) -> TokenSequence:
        """[B, S] -> num_positions tokens."""
        x = F.gelu(self.conv1(self.spectrogram(batch).transpose(1, 2)))  # [B, D, 2 * num_positions]
        embeds = F.gelu(self.conv2(x)).transpose(1, 2)  # [B, N, D]
        positions = grid(embeds.shape[1], device=embeds.device).expand(-1, -1, 3)
        return TokenSequence(embeds, full_mask(embeds), positions, padded=False)

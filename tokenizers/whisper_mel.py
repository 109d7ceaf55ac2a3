"""Whisper's log-mel spectrogram, computed on the device."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.audio_utils import mel_filter_bank

N_FFT, HOP_LENGTH = 400, 160  # samples: 25 ms and 10 ms at 16 kHz
HIGHEST_HZ = 8000.0
FLOOR, RANGE = 1e-10, 8.0  # power; decades below the loudest cell of the clip


class WhisperMel(nn.Module):
    """Log-mel frames as transformers' WhisperFeatureExtractor computes them (arXiv 2212.04356).

    In fp32 also under autocast. Frame i is centred on sample i * 160; the clip is mirrored at its ends.

    Args:
        sample_rate: in Hz, at least 16,000.
        n_mels: mel bands (Slaney's) from 0 to 8,000 Hz.

    Raises:
        ValueError: if the sample rate is below twice the highest frequency.
    """

    filters: Tensor
    window: Tensor

    def __init__(self, sample_rate: int, n_mels: int):
        super().__init__()
        if sample_rate < 2 * HIGHEST_HZ:
            raise ValueError(
                f"tokenizer.sample_rate={sample_rate} is too low for Whisper's mel bands; take 16000."
            )
        filters = mel_filter_bank(
            num_frequency_bins=N_FFT // 2 + 1,
            num_mel_filters=n_mels,
            min_frequency=0.0,
            max_frequency=HIGHEST_HZ,
            sampling_rate=sample_rate,
            norm="slaney",
            mel_scale="slaney",
        )
        # Persistent: on the meta device a non-persistent buffer would come back as garbage.
        self.register_buffer("filters", torch.tensor(filters, dtype=torch.float32))  # [bins, n_mels]
        self.register_buffer("window", torch.hann_window(N_FFT))

    def forward(self, samples: Tensor) -> Tensor:
        """Float [B, S], -1 to 1, of more than 200 samples -> float32 [B, S / 160, n_mels]."""
        with torch.autocast(samples.device.type, enabled=False):
            padded = F.pad(samples.float(), (N_FFT // 2, N_FFT // 2), mode="reflect")
            frames = padded.unfold(1, N_FFT, HOP_LENGTH)[:, :-1]  # the stock extractor drops the last
            spectrum = torch.fft.rfft(frames * self.window.float())
            power = spectrum.real.square() + spectrum.imag.square()
            mel = (power @ self.filters.float()).clamp_min(FLOOR).log10()
            mel = torch.maximum(mel, mel.amax((1, 2), keepdim=True) - RANGE)
            return (mel + 4.0) / 4.0

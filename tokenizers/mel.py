"""The log-mel spectrogram, computed on the device."""

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.audio_utils import mel_filter_bank

Count = TypeVar("Count", int, Tensor)

FLOOR = 1e-6  # power below which sound counts as silence: -60 dB


class LogMel(nn.Module):
    """Log-mel frames of a waveform, in fp32 also under autocast: the logarithm of a bf16 power is coarse.

    Frame i is centred on sample i * hop_length; what lies outside the clip counts as silence.

    Args:
        sample_rate: in Hz.
        n_mels: mel bands from 0 Hz to half the sample rate.
        window_length: of a Hann window, in samples.
        hop_length: from one frame to the next, in samples.
        mean: of log-mel values, subtracted.
        std: of log-mel values, divided by.
    """

    filters: Tensor
    window: Tensor

    def __init__(
        self, sample_rate: int, n_mels: int, window_length: int, hop_length: int, mean: float, std: float
    ):
        super().__init__()
        self.window_length, self.hop_length, self.mean, self.std = window_length, hop_length, mean, std
        self.n_fft = 2 << (window_length - 1).bit_length()  # zero-padded: else narrow low bands hold no bin
        filters = mel_filter_bank(
            num_frequency_bins=self.n_fft // 2 + 1,
            num_mel_filters=n_mels,
            min_frequency=0.0,
            max_frequency=sample_rate / 2,
            sampling_rate=sample_rate,
            mel_scale="htk",
        )
        self.register_buffer(
            "filters", torch.tensor(filters, dtype=torch.float32)
        )  # [bins, n_mels], persistent
        self.register_buffer("window", torch.hann_window(window_length))

    def num_frames(self, num_samples: Count) -> Count:
        """How many frames a clip of so many samples has."""
        return num_samples // self.hop_length + 1

    def forward(self, samples: Tensor) -> Tensor:
        """Float [B, S], -1 to 1 -> float32 [B, T, n_mels], normalised."""
        with torch.autocast(samples.device.type, enabled=False):
            half = self.window_length // 2
            padded = F.pad(samples.float(), (half, self.window_length - half))
            frames = padded.unfold(1, self.window_length, self.hop_length)  # [B, T, window]
            spectrum = torch.fft.rfft(frames * self.window.float(), n=self.n_fft)
            power = spectrum.real.square() + spectrum.imag.square()
            mel = (power @ self.filters.float()).clamp_min(FLOOR)
            return (mel.log() - self.mean) / self.std

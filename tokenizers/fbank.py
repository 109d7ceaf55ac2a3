"""Kaldi's log-mel filterbank, computed on the device: what AST reads."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WINDOW_MS, HOP_MS, LOWEST_HZ, PREEMPHASIS = 25.0, 10.0, 20.0, 0.97
FLOOR = torch.finfo(torch.float32).eps  # of a band's power, before the logarithm


class Fbank(nn.Module):
    """Log-mel frames of a waveform as Kaldi computes them, in fp32 also under autocast.

    Equal to `torchaudio.compliance.kaldi.fbank(waveform, sample_frequency=sample_rate, num_mel_bins=n_mels,
    window_type="hanning")`, which transformers' ASTFeatureExtractor calls, but batched. Frame i covers the
    samples from i * hop_length on, whole windows only; a clip shorter than one window is filled with zeros.

    Args:
        sample_rate: in Hz.
        n_mels: mel bands from 20 Hz to half the sample rate.

    Raises:
        ValueError: if the sample rate is so low that frames would not move on.
    """

    filters: Tensor
    window: Tensor

    def __init__(self, sample_rate: int, n_mels: int):
        super().__init__()
        if sample_rate < 100:
            raise ValueError(f"tokenizer.sample_rate={sample_rate} must be at least 100.")
        self.window_length = int(sample_rate * WINDOW_MS * 0.001)  # rounds as Kaldi's port does
        self.hop_length = int(sample_rate * HOP_MS * 0.001)
        self.n_fft = 1 << (self.window_length - 1).bit_length()
        # Persistent: on the meta device a non-persistent buffer would come back as garbage.
        self.register_buffer("filters", kaldi_filters(sample_rate, n_mels, self.n_fft))
        self.register_buffer("window", torch.hann_window(self.window_length, periodic=False))

    def num_frames(self, num_samples: Tensor) -> Tensor:
        """How many frames clips of so many samples have."""
        return (num_samples - self.window_length).clamp_min(0) // self.hop_length + 1

    def forward(self, samples: Tensor) -> Tensor:
        """Float [B, S], -1 to 1 -> float32 [B, T, n_mels]."""
        with torch.autocast(samples.device.type, enabled=False):
            samples = F.pad(samples.float(), (0, max(self.window_length - samples.shape[1], 0)))
            frames = samples.unfold(1, self.window_length, self.hop_length)  # [B, T, window]
            frames = frames - frames.mean(-1, keepdim=True)
            before = torch.cat((frames[..., :1], frames[..., :-1]), -1)
            spectrum = torch.fft.rfft((frames - PREEMPHASIS * before) * self.window.float(), n=self.n_fft)
            power = spectrum.real.square() + spectrum.imag.square()
            return (power @ self.filters.float()).clamp_min(FLOOR).log()


def kaldi_filters(sample_rate: int, n_mels: int, n_fft: int) -> Tensor:
    """Triangles in mel space, float32 [n_fft / 2 + 1, n_mels].

    transformers' `mel_filter_bank` computes them in fp64: bands of one bin then differ from Kaldi's by 1e-4.
    """
    lowest, highest = (1127.0 * math.log(1.0 + hz / 700.0) for hz in (LOWEST_HZ, sample_rate / 2))
    step = (highest - lowest) / (n_mels + 1)
    band = torch.arange(n_mels)
    left, centre, right = (lowest + (band + i) * step for i in (0.0, 1.0, 2.0))
    bins = sample_rate / n_fft * torch.arange(n_fft // 2 + 1)[:, None]
    mel = 1127.0 * (1.0 + bins / 700.0).log()
    triangles = torch.minimum((mel - left) / (centre - left), (right - mel) / (right - centre)).clamp_min(0)
    triangles[-1] = 0  # half the sample rate itself: rounding may leave a trace
    return triangles

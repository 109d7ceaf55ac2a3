"""The Fourier transform as a matrix product is torch's."""

import pytest
import torch

from unimodal.hub.fourier import Fourier
from unimodal.tokenizers.fbank import Fbank
from unimodal.tokenizers.mel import LogMel
from unimodal.tokenizers.whisper_mel import WhisperMel

SOUND = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0)) / 10


@pytest.mark.parametrize(("num_samples", "n"), [(8, None), (400, None), (25, 64), (7, 9)])
def test_it_is_torchs(num_samples, n):
    x = torch.randn(2, 3, num_samples, generator=torch.Generator().manual_seed(0))
    theirs = torch.fft.rfft(x, n=n)
    torch.testing.assert_close(Fourier()(x, n), theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "mel", [LogMel(16_000, 64, 400, 160, -6.0, 4.0), WhisperMel(16_000, 80), Fbank(16_000, 64)]
)
def test_spectrograms_stay_the_same(mel):
    fourier = Fourier()
    with fourier.instead():
        product = mel(SOUND)
    assert len(fourier._buffers) == 1  # it was asked
    torch.testing.assert_close(product, mel(SOUND), atol=5e-4, rtol=0)


def test_other_transforms_are_left_alone():
    x = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    with Fourier().instead():
        along = torch.fft.rfft(x, dim=0)
    assert torch.equal(along, torch.fft.rfft(x, dim=0))

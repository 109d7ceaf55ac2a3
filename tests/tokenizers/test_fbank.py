import math

import pytest
import torch
from torchaudio.compliance import kaldi

from unimodal.tokenizers.fbank import FLOOR, Fbank, kaldi_filters

RATES = pytest.mark.parametrize(
    ("rate", "n_mels"), [(8000, 64), (16_000, 128), (16_000, 40), (11_025, 64), (44_100, 128)]
)


def sound(num, batch=2):
    return torch.rand(batch, num, generator=torch.Generator().manual_seed(0)) - 0.5


def stock(samples, rate, n_mels):
    """As ASTFeatureExtractor and AST's authors call it, clip by clip."""
    fixed = {
        "htk_compat": True,
        "use_energy": False,
        "window_type": "hanning",
        "dither": 0.0,
        "frame_shift": 10,
    }
    one = [kaldi.fbank(x[None], sample_frequency=rate, num_mel_bins=n_mels, **fixed) for x in samples]
    return torch.stack(one)


@RATES
@pytest.mark.parametrize("seconds", [0.026, 0.1, 1.0])
def test_it_equals_torchaudio(rate, n_mels, seconds):
    x = sound(round(seconds * rate))
    torch.testing.assert_close(Fbank(rate, n_mels)(x), stock(x, rate, n_mels), atol=1e-5, rtol=0)


@RATES
def test_it_equals_torchaudio_on_a_pure_tone_with_an_offset(rate, n_mels):
    tone = 0.3 + 0.5 * torch.sin(2 * math.pi * 440 * torch.arange(rate // 2) / rate)[None]
    torch.testing.assert_close(Fbank(rate, n_mels)(tone), stock(tone, rate, n_mels), atol=1e-4, rtol=0)


@RATES
def test_the_filters_are_torchaudios_to_the_bit(rate, n_mels):
    n_fft = Fbank(rate, n_mels).n_fft
    wanted, _ = kaldi.get_mel_banks(n_mels, n_fft, rate, 20.0, 0.0, 100.0, -500.0, 1.0)
    filters = kaldi_filters(rate, n_mels, n_fft)
    assert torch.equal(filters[:-1], wanted.T) and not filters[-1].any()


@pytest.mark.parametrize("num", [0, 1, 199, 200, 201, 279, 280, 359, 360, 4000])
def test_num_frames_is_how_many_come(num):
    ours = Fbank(8000, 64)
    wanted = max(num - 200, 0) // 80 + 1
    assert ours(torch.zeros(2, num)).shape == (2, wanted, 64)
    assert ours.num_frames(torch.tensor([num])).item() == wanted


def test_a_clip_shorter_than_one_window_is_filled_with_zeros():
    ours, x = Fbank(8000, 64), sound(120)
    filled = torch.cat((x, torch.zeros(2, 80)), 1)
    assert torch.equal(ours(x), ours(filled))
    torch.testing.assert_close(ours(x), stock(filled, 8000, 64), atol=1e-5, rtol=0)


def test_silence_is_the_floor():
    assert torch.equal(Fbank(8000, 64)(torch.zeros(1, 800)), torch.full((1, 8, 64), FLOOR).log())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_fp32_also_under_autocast(dtype):
    ours, x = Fbank(8000, 64), sound(2000).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        inside = ours(x)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, ours(x.float()))


def test_filters_and_window_are_in_the_state_dict():
    assert set(Fbank(8000, 64).state_dict()) == {"filters", "window"}


def test_a_sample_rate_without_a_hop_is_refused():
    with pytest.raises(ValueError, match="sample_rate=50 must be at least 100"):
        Fbank(50, 64)

import math

import pytest
import torch
from torchaudio.transforms import MelSpectrogram

from unimodal.tokenizers.mel import FLOOR, LogMel

RATE, N_MELS, WINDOW, HOP, MEAN, STD = 16_000, 64, 400, 160, -6.0, 4.0


def log_mel(window_length=WINDOW, n_mels=N_MELS, hop_length=HOP):
    return LogMel(RATE, n_mels, window_length, hop_length, MEAN, STD)


def sound(num=5001, batch=2):
    return torch.rand(batch, num, generator=torch.Generator().manual_seed(0)) - 0.5


@pytest.mark.parametrize(
    ("window_length", "n_mels"), [(400, 64), (400, 128), (512, 64), (1024, 80), (200, 40)]
)
@pytest.mark.parametrize("num", [1, 159, 160, 5001])
def test_it_equals_torchaudio(window_length, n_mels, num):
    ours, x = log_mel(window_length, n_mels), sound(num)
    stock = MelSpectrogram(
        RATE,
        n_fft=ours.n_fft,
        win_length=window_length,
        hop_length=HOP,
        n_mels=n_mels,
        center=True,
        pad_mode="constant",
        power=2.0,
        mel_scale="htk",
        norm=None,
    )
    wanted = ((stock(x).clamp_min(FLOOR).log() - MEAN) / STD).transpose(1, 2)
    assert wanted.std() > 0.01
    torch.testing.assert_close(ours(x), wanted, atol=2e-4, rtol=1e-4)


def test_a_frame_is_the_transform_of_what_surrounds_its_sample():
    ours, x = log_mel(), sound().double()
    frame = 7
    cut = x[:, frame * HOP - WINDOW // 2 : frame * HOP + WINDOW // 2]
    hann = 0.5 - 0.5 * torch.cos(2 * math.pi * torch.arange(WINDOW, dtype=torch.float64) / WINDOW)
    turns = torch.outer(torch.arange(WINDOW), torch.arange(ours.n_fft // 2 + 1)).double() / ours.n_fft
    angle = 2 * math.pi * turns
    spectrum = torch.complex(cut * hann @ torch.cos(angle), -(cut * hann) @ torch.sin(angle))
    power = spectrum.abs().square() @ ours.filters.double()
    wanted = (power.clamp_min(FLOOR).log() - MEAN) / STD
    torch.testing.assert_close(ours(x.float())[:, frame].double(), wanted, atol=1e-4, rtol=1e-4)


def test_a_louder_sound_moves_every_band_by_the_same_amount():
    x = sound()
    torch.testing.assert_close(log_mel()(2 * x), log_mel()(x) + math.log(4) / STD, atol=1e-4, rtol=1e-4)


def test_a_tone_is_brightest_in_its_band():
    tone = torch.sin(2 * math.pi * 1000 * torch.arange(4000) / RATE)[None]
    mel = log_mel()(tone)[0, 5:-5]
    highest = 2595 * math.log10(1 + 8000 / 700)
    wanted = 2595 * math.log10(1 + 1000 / 700) / highest * (N_MELS + 1) - 1
    assert (mel.argmax(1) - wanted).abs().max() <= 1


def test_silence_is_the_floor():
    assert torch.allclose(log_mel()(torch.zeros(1, 800)), torch.tensor((math.log(FLOOR) - MEAN) / STD))


@pytest.mark.parametrize("num", [0, 1, 159, 160, 161, 319, 320, 4000])
@pytest.mark.parametrize("window_length", [399, 400])
def test_num_frames_is_how_many_come(num, window_length):
    ours = log_mel(window_length)
    assert ours(torch.zeros(1, num)).shape == (1, ours.num_frames(num), N_MELS)
    assert ours.num_frames(torch.tensor([num])).item() == num // HOP + 1


@pytest.mark.parametrize("n_mels", [64, 128])
def test_no_band_is_without_a_bin(n_mels):
    assert (log_mel(n_mels=n_mels).filters.sum(0) > 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_fp32_also_under_autocast(dtype):
    ours, x = log_mel(), sound().to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        inside = ours(x)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, ours(x.float()))


def test_filters_and_window_are_in_the_state_dict():
    assert set(log_mel().state_dict()) == {"filters", "window"}

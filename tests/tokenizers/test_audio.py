import pytest
import torch

from unimodal.tokenizers.audio import AudioFrameTokenizer, AudioPatchTokenizer, AudioPreprocess
from unimodal.types import Waveform

BOTH = pytest.mark.parametrize("make", [AudioFrameTokenizer, AudioPatchTokenizer])


def build(make, **changes):
    torch.manual_seed(0)
    return make(**({"dim": 32, "max_seconds": 1.0} | changes))


def sound(num=5001, batch=2):
    return torch.rand(batch, num, generator=torch.Generator().manual_seed(0)) - 0.5


def test_frames_are_stacked_in_order():
    model, x = build(AudioFrameTokenizer, stack=3), sound(1600)  # 11 frames
    tokens, mel = model({"input_values": x}), model.log_mel(x)
    assert tokens.embeds.shape[1] == 4
    for i in range(4):
        stack = torch.zeros(2, 3, 64)
        part = mel[:, 3 * i : 3 * i + 3]
        stack[:, : part.shape[1]] = part
        torch.testing.assert_close(tokens.embeds[:, i], model.project(stack.reshape(2, -1)))
        assert tokens.positions[0, i].tolist() == [i, i, i]


def test_patches_are_read_frame_by_frame_and_band_by_band():
    model, x = build(AudioPatchTokenizer, n_mels=40, patch_size=16, stride=10), sound(160 * 29)  # 30 frames
    tokens, mel = model({"input_values": x}), model.log_mel(x)
    mel = torch.cat((mel, torch.zeros(2, 6, 40)), 1)
    i = 0
    for t in range(3):
        for f in range(3):
            patch = mel[:, 10 * t : 10 * t + 16, 10 * f : 10 * f + 16]
            torch.testing.assert_close(tokens.embeds[:, i], model.project(patch.reshape(2, -1)))
            assert tokens.positions[0, i].tolist() == [t, f, 0]
            i += 1
    assert tokens.embeds.shape[1] == i


@pytest.mark.parametrize(
    ("num_frames", "columns"), [(1, 1), (15, 1), (16, 1), (17, 2), (26, 2), (27, 3), (36, 3), (37, 4)]
)
def test_patches_cover_every_frame(num_frames, columns):
    model = build(AudioPatchTokenizer, n_mels=16)
    x = sound((num_frames - 1) * 160)
    tokens = model({"input_values": x})
    assert tokens.embeds.shape[1] == columns
    ears = model.log_mel(x).requires_grad_()
    model.log_mel.forward = lambda _: ears
    model({"input_values": x}).embeds.square().sum().backward()
    assert ears.grad.abs().sum((0, 2)).min() > 0  # none goes unheard


@BOTH
def test_padding_by_hand_equals_the_shorter_sound(make):
    model, x = build(make), sound(4321)
    mask = (torch.arange(9000) < 4321).expand(2, -1)
    padded = torch.full((2, 9000), 0.3)
    padded[:, :4321] = x
    alone, together = model({"input_values": x}), model({"input_values": padded, "input_values_mask": mask})
    num = alone.embeds.shape[1]
    assert together.mask.sum(1).tolist() == [num, num] and together.mask[:, :num].all()
    torch.testing.assert_close(together.embeds[:, :num], alone.embeds, atol=1e-5, rtol=1e-5)


@BOTH
@pytest.mark.parametrize("kind", [torch.bool, torch.long, torch.float32])
def test_the_mask_may_be_of_any_type(make, kind):
    model, mask = build(make), torch.arange(5001) < torch.tensor([[5001], [1234]])
    wanted = model({"input_values": sound(), "input_values_mask": mask})
    tokens = model({"input_values": sound(), "input_values_mask": mask.to(kind)})
    assert torch.equal(tokens.mask, wanted.mask) and torch.equal(tokens.embeds, wanted.embeds)


@BOTH
def test_a_row_without_sound_gives_no_nan(make):
    model = build(make)
    mask = torch.tensor([[True], [False]]).expand(-1, 5001)
    assert model({"input_values": sound(), "input_values_mask": mask}).embeds.isfinite().all()


@BOTH
def test_what_the_spectrogram_mask_covers_is_hidden(make):
    model, x = build(make, n_mels=64), sound()
    num_frames = model.log_mel.num_frames(x.shape[1])
    visible = torch.ones(2, num_frames, 64, dtype=torch.bool)
    visible[:, 8:16] = False
    visible[:, :, 40:] = False
    mel = model.log_mel(x)
    model.log_mel.forward = lambda samples: samples
    junk = torch.where(visible, mel, 1e3)
    with_mask = model({"input_values": mel, "spectrogram_mask": visible}).embeds
    assert torch.equal(model({"input_values": junk, "spectrogram_mask": visible}).embeds, with_mask)
    torch.testing.assert_close(with_mask, model({"input_values": mel * visible}).embeds)
    assert not torch.allclose(with_mask, model({"input_values": mel}).embeds, atol=1e-2)


def test_preprocess_cuts_and_passes_the_mask():
    preprocess = AudioPreprocess(sample_rate=8000, max_seconds=0.5, hop_length=80, n_mels=8)
    mask = torch.ones(3, 8, dtype=torch.bool)
    inputs = preprocess({"audio": Waveform(sound(5000)[0], 8000), "spectrogram_mask": mask})
    assert torch.equal(inputs["input_values"], sound(5000)[0, :4000])
    assert inputs["spectrogram_mask"] is mask


def test_preprocess_refuses_another_rate():
    preprocess = AudioPreprocess(sample_rate=8000, max_seconds=0.5, hop_length=80, n_mels=8)
    with pytest.raises(ValueError, match="sample_rate=16000 Hz; 8000 Hz"):
        preprocess({"audio": Waveform(sound()[0], 16_000)})


@pytest.mark.parametrize(
    ("make", "changes", "named"),
    [
        (AudioPatchTokenizer, {"n_mels": 8}, "tokenizer.n_mels=8.*tokenizer.patch_size=16"),
        (AudioPatchTokenizer, {"stride": 0}, "tokenizer.stride=0"),
        (AudioPatchTokenizer, {"stride": 17}, "tokenizer.stride=17.*tokenizer.patch_size=16"),
        (AudioFrameTokenizer, {"stack": 0}, "tokenizer.stack=0"),
        (AudioFrameTokenizer, {"hop_length": 0}, "tokenizer.hop_length=0"),
        (AudioPatchTokenizer, {"max_seconds": 0.0}, "tokenizer.max_seconds=0.0"),
        (AudioFrameTokenizer, {"std": 0.0}, "tokenizer.std=0.0"),
        (AudioFrameTokenizer, {"n_mels": 0}, "tokenizer.n_mels=0"),
    ],
)
def test_a_size_that_does_not_fit_names_its_knob(make, changes, named):
    with pytest.raises(ValueError, match=named):
        build(make, **changes)


@BOTH
def test_a_longer_sound_than_the_table_of_positions_is_refused(make):
    with pytest.raises(ValueError, match="learned positions only"):
        build(make, learned_positions=True)({"input_values": sound(32_000)})

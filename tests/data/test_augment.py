import pickle
import random
from types import SimpleNamespace

import pytest
import torch

from unimodal.data.augment import AudioAugment, ImageAugment, VideoAugment, spectrogram_mask
from unimodal.data.collate import collate
from unimodal.tokenizers.audio import AudioFrameTokenizer, AudioPatchTokenizer
from unimodal.types import Waveform

PIXELS = {
    "rotate": 10,
    "translate": 0.1,
    "scale": 0.1,
    "hflip": True,
    "brightness": 0.3,
    "contrast": 0.3,
    "crop": 0.5,
    "trivial": True,
    "erase": 0.9,
}
TIMES = {"time_shift": 0.3, "speed": 0.3}
CASES = [
    ("image", ImageAugment(), ImageAugment(**PIXELS)),
    ("video", VideoAugment(), VideoAugment(**PIXELS, **TIMES)),
    ("audio", AudioAugment(), AudioAugment(gain_db=6, shift_ms=20, noise_db=-20)),
]


def sample_of(key):
    rng = torch.Generator().manual_seed(0)
    shapes = {"image": (3, 16, 16), "video": (4, 3, 16, 16)}
    if key == "audio":
        return {"audio": Waveform(torch.rand(1600, generator=rng) - 0.5, 8000), "label": 3}
    return {key: torch.randint(256, shapes[key], dtype=torch.uint8, generator=rng), "label": 3}


def tensor_of(sample, key):
    return sample[key].samples if key == "audio" else sample[key]


def draw(augment, key, seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return tensor_of(augment(sample_of(key)), key)


@pytest.mark.parametrize(("key", "identity", "augment"), CASES)
def test_defaults_change_nothing(key, identity, augment):
    assert torch.equal(draw(identity, key, 0), tensor_of(sample_of(key), key))


@pytest.mark.parametrize(("key", "identity", "augment"), CASES)
def test_the_draw_depends_on_torchs_seed_alone(key, identity, augment):
    first = draw(augment, key, 1)
    state = random.getstate()
    random.seed(99)
    assert torch.equal(draw(augment, key, 1), first)
    random.setstate(state)
    assert not torch.equal(draw(augment, key, 2), first)


@pytest.mark.parametrize(("key", "identity", "augment"), CASES)
def test_shape_and_dtype_stay(key, identity, augment):
    before, after = tensor_of(sample_of(key), key), draw(augment, key, 1)
    assert (after.shape, after.dtype) == (before.shape, before.dtype)
    assert not torch.equal(before, after)


@pytest.mark.parametrize(("key", "identity", "augment"), CASES)
def test_the_given_sample_and_its_label_stay(key, identity, augment):
    sample = sample_of(key)
    assert augment(sample)["label"] == 3
    assert torch.equal(tensor_of(sample, key), tensor_of(sample_of(key), key))


@pytest.mark.parametrize(("key", "identity", "augment"), CASES)
def test_an_augment_survives_the_way_into_a_worker(key, identity, augment):
    again = pickle.loads(pickle.dumps(augment))
    assert again == augment
    assert torch.equal(draw(again, key, 1), draw(augment, key, 1))


@pytest.mark.parametrize(("key", "identity", "augment"), CASES)
def test_a_sample_without_the_modality_is_named(key, identity, augment):
    with pytest.raises(ValueError, match=f'no "{key}" to augment; it has text'):
        augment({"text": "x"})


def test_all_frames_of_a_clip_get_the_same_draw():
    video = sample_of("video")["video"][:1].repeat(4, 1, 1, 1)
    frames = VideoAugment(**PIXELS)({"video": video})["video"]
    assert (frames == frames[:1]).all()


def numbered(num=8):
    """A clip whose frames are their number."""
    return torch.arange(num, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 8, 8)


def frames_of(augment, num=8, seeds=40):
    clips = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        clips.append(augment({"video": numbered(num)})["video"][:, 0, 0, 0].int())
    return torch.stack(clips)


def test_a_shift_in_time_repeats_the_frame_at_the_edge():
    frames, steps = frames_of(VideoAugment(time_shift=0.5)), set()
    for clip in frames:
        shift = int((clip - torch.arange(8)).abs().max()) * (1 if clip[-1] == 7 else -1)
        assert torch.equal(clip, (torch.arange(8) + shift).clamp(0, 7).int())
        steps.add(shift)
    assert len(steps) >= 7 and max(map(abs, steps)) <= 4


def test_another_speed_keeps_the_middle_and_the_order():
    frames = frames_of(VideoAugment(speed=0.5), num=16)
    assert (frames.diff(dim=1) >= 0).all()
    assert ((frames[:, 8] == 8) & (frames[:, 7] == 7)).all()
    ranges = frames[:, -1] - frames[:, 0]
    assert 7 <= ranges.min() < 12  # slower: the middle half of the clip at most
    repeated = (frames[:, 0] == 0) & (frames[:, 1] == 0)
    assert repeated.any()  # faster: the edge is repeated


@pytest.mark.parametrize("value", [{"time_shift": 1.0}, {"speed": -0.1}])
def test_an_option_of_time_out_of_range_is_named(value):
    with pytest.raises(ValueError, match=f"{next(iter(value))}="):
        VideoAugment(**value)


def test_a_crop_shows_at_least_the_share_that_it_keeps():
    rows = torch.arange(64, dtype=torch.uint8)[None, :, None].expand(3, -1, 64)
    areas = []
    for seed in range(60):
        torch.manual_seed(seed)
        image = torch.stack((rows[0], rows[0].T, rows[0]))
        changed = ImageAugment(crop=0.75)({"image": image})["image"].float()
        assert changed.shape == (3, 64, 64)
        height, width = (float(c.max() - c.min() + 1) / 64 for c in changed[:2])
        areas.append(height * width)
        assert 0.7 < height / width < 1.45
    assert 0.2 < min(areas) < 0.4 < 0.8 < max(areas)


def test_a_crop_of_an_oblong_image_keeps_its_sides_in_proportion():
    torch.manual_seed(0)
    image = torch.arange(200, dtype=torch.uint8)[None, None].expand(3, 20, -1)
    for _ in range(20):
        changed = ImageAugment(crop=0.5)({"image": image})["image"]
        assert changed.shape == image.shape and int(changed.max()) - int(changed.min()) + 1 >= 100


def test_an_erased_rectangle_has_the_mean_colour_and_all_frames_of_a_clip_share_it():
    video = sample_of("video")["video"]
    torch.manual_seed(0)
    changed = VideoAugment(erase=1.0)({"video": video})["video"]
    erased = (changed != video).any(0).any(0)
    rows, columns = erased.any(1), erased.any(0)
    assert 0 < erased.sum() <= 0.45 * erased.numel()
    assert (changed[:, :, rows][..., columns].flatten(2).float().std(-1) < 1).all()
    mean = video.float().mean((0, 2, 3))
    assert (changed[:, :, rows][..., columns].float() - mean[:, None, None]).abs().max() <= 1


def test_erasing_happens_as_often_as_its_probability():
    image = sample_of("image")
    torch.manual_seed(0)
    changed = [not torch.equal(ImageAugment(erase=0.3)(image)["image"], image["image"]) for _ in range(300)]
    assert 60 <= sum(changed) <= 120


def test_a_mask_is_cropped_with_its_image_and_keeps_its_classes_where_pixels_are_erased():
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    image[:, 8:24, 8:24] = 200
    sample = {"image": image, "mask": (image[0] > 0).to(torch.uint8)}
    torch.manual_seed(1)
    changed = ImageAugment(crop=0.6)(sample)
    assert ((changed["image"][0] > 100) == (changed["mask"] == 1)).float().mean() > 0.97
    assert not torch.equal(changed["mask"], sample["mask"])
    erased = ImageAugment(erase=1.0)(sample)
    assert torch.equal(erased["mask"], sample["mask"]) and not torch.equal(erased["image"], image)


def test_trivial_augmentation_is_refused_beside_a_mask():
    sample = sample_of("image") | {"mask": torch.zeros(16, 16, dtype=torch.uint8)}
    with pytest.raises(ValueError, match=r"set augment\.trivial=false"):
        ImageAugment(trivial=True)(sample)


def test_a_shift_moves_sound_and_brings_in_silence():
    samples = torch.arange(1.0, 101.0) / 100
    torch.manual_seed(0)
    for _ in range(20):
        shifted = AudioAugment(shift_ms=200)({"audio": Waveform(samples, 1000)})["audio"].samples
        kept = shifted[shifted > 0]
        assert torch.equal(kept, samples[: len(kept)]) or torch.equal(
            kept, samples[len(samples) - len(kept) :]
        )


def test_gain_stays_within_its_decibels():
    torch.manual_seed(0)
    clips = [AudioAugment(gain_db=6)({"audio": Waveform(torch.full((4,), 0.1), 8000)}) for _ in range(100)]
    levels = torch.stack([clip["audio"].samples for clip in clips])
    assert 0.05 < levels.min() < 0.06
    assert 0.17 < levels.max() < 0.2


@pytest.mark.parametrize(
    "option", [{"rotate": -1}, {"translate": 2}, {"scale": 1.0}, {"crop": 1.0}, {"erase": 1.1}]
)
def test_an_option_out_of_range_is_named(option):
    with pytest.raises(ValueError, match=f"{next(iter(option))}="):
        ImageAugment(**option)


def test_a_spectrogram_mask_takes_out_whole_frames_and_bins():
    torch.manual_seed(0)
    keep = spectrogram_mask(num_frames=50, n_mels=20, time_mask=10, freq_mask=5)
    assert keep.shape == (50, 20)
    assert keep.dtype == torch.bool
    frames, bins = keep.any(1), keep.any(0)
    assert torch.equal(keep, frames[:, None] & bins)
    assert 0 < (~frames).sum() <= 2 * 9
    assert 0 < (~bins).sum() <= 2 * 4


def test_masks_of_no_width_keep_everything():
    assert spectrogram_mask(50, 20, time_mask=0, freq_mask=0).all()


def test_a_mask_longer_than_the_clip_is_cut_to_it():
    torch.manual_seed(0)
    assert spectrogram_mask(3, 2, time_mask=100, freq_mask=100).shape == (3, 2)


def test_a_spectrogram_mask_depends_on_torchs_seed():
    torch.manual_seed(5)
    first = spectrogram_mask(50, 20, 10, 5)
    torch.manual_seed(5)
    assert torch.equal(spectrogram_mask(50, 20, 10, 5), first)


def masked(num_samples=1600, seed=0, **knobs):
    """What the augmentation makes of a clip for a tokenizer with frames of 80 samples and 20 bands."""
    sample = {"audio": Waveform(torch.ones(num_samples) / 2, 8000), "label": 3}
    torch.manual_seed(seed)
    return AudioAugment(**knobs)(sample, SimpleNamespace(field="audio", hop_length=80, n_mels=20))


@pytest.mark.parametrize("knobs", [{"time_mask": 8}, {"freq_mask": 6}, {"time_mask": 8, "freq_mask": 6}])
def test_a_spectrogram_mask_goes_along_with_the_sound(knobs):
    changed = masked(**knobs)
    assert changed.keys() == {"audio", "label", "spectrogram_mask"}
    assert changed["spectrogram_mask"].shape == (21, 20)
    assert changed["spectrogram_mask"].dtype == torch.bool
    assert torch.equal(changed["audio"].samples, torch.ones(1600) / 2)


def test_only_the_kind_of_band_that_was_asked_for_is_hidden():
    frames = torch.stack([masked(seed=i, time_mask=8)["spectrogram_mask"] for i in range(10)])
    bands = torch.stack([masked(seed=i, freq_mask=6)["spectrogram_mask"] for i in range(10)])
    assert torch.equal(frames.any(2), frames.all(2))
    assert torch.equal(bands.any(1), bands.all(1))
    assert not frames.all()
    assert not bands.all()


def test_no_bands_hide_nothing():
    assert masked(time_mask=8, freq_mask=6, num_masks=0)["spectrogram_mask"].all()


def test_the_spectrogram_mask_depends_on_torchs_seed_alone():
    first = masked(seed=1, time_mask=8, freq_mask=6)["spectrogram_mask"]
    assert torch.equal(masked(seed=1, time_mask=8, freq_mask=6)["spectrogram_mask"], first)
    others = [masked(seed=i, time_mask=8, freq_mask=6)["spectrogram_mask"] for i in range(2, 6)]
    assert any(not torch.equal(first, other) for other in others)


def test_without_bands_there_is_no_mask_and_no_preprocess_is_needed():
    assert "spectrogram_mask" not in AudioAugment(gain_db=6)(sample_of("audio"))


@pytest.mark.parametrize("num_samples", [1, 79, 80, 1599, 1600])
@pytest.mark.parametrize("make", [AudioFrameTokenizer, AudioPatchTokenizer])
def test_the_mask_has_as_many_frames_as_the_tokenizers_spectrogram(make, num_samples):
    tokenizer = make(32, sample_rate=8000, n_mels=20, hop_length=80, window_length=200)
    sample = {"audio": Waveform(torch.zeros(num_samples), 8000)}
    changed = AudioAugment(time_mask=8, freq_mask=6)(sample, tokenizer.preprocess)
    batch = collate([tokenizer.preprocess(changed)])
    assert batch["spectrogram_mask"].shape[1:] == tokenizer.spectrogram(batch)[0].shape[1:]


def test_clips_of_different_length_are_hidden_each_in_its_own_frames():
    tokenizer = AudioFrameTokenizer(32, sample_rate=8000, n_mels=20, hop_length=80, window_length=200)
    noise = torch.randn(1600, generator=torch.Generator().manual_seed(0))
    clips = [{"audio": Waveform(noise[:num].clamp(-1, 1), 8000)} for num in (1600, 400)]
    torch.manual_seed(1)
    changed = [AudioAugment(time_mask=8, freq_mask=6)(clip, tokenizer.preprocess) for clip in clips]
    batch = collate([tokenizer.preprocess(sample) for sample in changed])
    mel, _ = tokenizer.spectrogram(batch)
    hidden = ~batch["spectrogram_mask"]
    assert hidden.any()
    assert not mel[hidden].any()
    assert not mel[1, 6:].any()
    assert mel[0][~hidden[0]].ne(0).all()


def test_stretches_with_a_label_keep_to_their_sound():
    samples, heard = torch.zeros(8000), SimpleNamespace(field="audio", max_seconds=10.0)
    samples[4000:6000] = 0.5
    sample = {"audio": Waveform(samples, 8000), "spans": [(0.5, 0.75, "on")]}
    torch.manual_seed(3)
    changed = AudioAugment(speed=0.3, shift_ms=50)(sample, heard)
    [(start, end, _)], on = changed["spans"], (changed["audio"].samples > 0.25).nonzero()[:, 0] / 8000
    assert (start, end) == pytest.approx((on.min().item(), on.max().item()), abs=0.002)
    assert (start, end) != (0.5, 0.75)


def test_speed_changes_length_and_pitch():
    time, heard = torch.arange(8000) / 8000, SimpleNamespace(field="audio", max_seconds=10.0)
    sample = {"audio": Waveform(0.5 * torch.sin(2 * torch.pi * 1000 * time), 8000)}
    lengths = set()
    for seed in range(20):
        torch.manual_seed(seed)
        samples, rate = AudioAugment(speed=0.2)(sample, heard)["audio"]
        loudest = abs(torch.fft.rfft(samples)).argmax() * rate / len(samples)
        assert loudest * len(samples) == pytest.approx(1000 * 8000, rel=0.01)
        assert 8000 / 1.2 - 1 <= len(samples) <= 8000 / 0.8 + 1
        lengths.add(len(samples))
    assert len(lengths) > 5


def test_a_slower_sound_is_not_cut():
    sample, heard = (
        {"audio": Waveform(torch.ones(8000) / 2, 8000)},
        SimpleNamespace(field="audio", max_seconds=1.05),
    )
    for seed in range(20):
        torch.manual_seed(seed)
        assert len(AudioAugment(speed=0.5)(sample, heard)["audio"].samples) <= 8400


def test_negative_knobs_of_sound_are_named():
    for knob in ("speed", "gain_db", "shift_ms"):
        with pytest.raises(ValueError, match=f"{knob}=-1"):
            AudioAugment(**{knob: -1})


@pytest.mark.parametrize("knob", ["time_mask", "freq_mask", "num_masks"])
def test_a_negative_mask_is_named(knob):
    with pytest.raises(ValueError, match=f"{knob}=-1"):
        AudioAugment(**{knob: -1})


def test_a_mask_moves_with_its_image_and_what_comes_into_view_does_not_count():
    pixels = torch.randint(
        100, 256, (3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    sample = {"image": pixels, "mask": pixels[0] % 7}
    alone = ImageAugment(translate=0.4, hflip=True, brightness=0.2)
    for seed in range(10):
        torch.manual_seed(seed)
        changed = alone(sample)
        torch.manual_seed(seed)
        assert torch.equal(alone({"image": pixels})["image"], changed["image"])  # a mask costs no other draw
        outside = changed["image"][0] == 0
        assert torch.equal(changed["mask"] == 255, outside)
    assert type(changed["mask"]) is torch.Tensor and changed["mask"].dtype == torch.uint8
    assert set(changed["mask"].unique().tolist()) <= {*range(7), 255}


def test_labelled_stretches_move_with_their_sound():
    samples = torch.zeros(800)
    samples[400:480] = 1.0
    sample = {"audio": Waveform(samples, 8000), "spans": [(0.05, 0.06, "beep")]}
    for seed in range(5):
        torch.manual_seed(seed)
        changed = AudioAugment(shift_ms=20.0)(sample)
        [(start, end, label)] = changed["spans"]
        heard = changed["audio"].samples.nonzero()[:, 0]
        assert label == "beep"
        assert [heard[0].item(), heard[-1].item() + 1] == [round(start * 8000), round(end * 8000)]


@pytest.mark.parametrize(("key", "identity", "augment"), CASES)
def test_what_another_preprocess_reads_stays(key, identity, augment):
    for one in ({"text": "x"}, sample_of(key) | {"text": "x"}):
        assert augment(one, SimpleNamespace(field="text")) is one


def test_speed_works_beside_a_text_tokenizer():
    sample, text = sample_of("audio") | {"text": "x"}, SimpleNamespace(field="text")
    assert AudioAugment(speed=0.2, time_mask=4)(sample, text) is sample

import pytest
import torch
from transformers import ASTConfig, ASTFeatureExtractor, ASTModel

from unimodal.data.collate import collate
from unimodal.tokenizers.audio_spectrogram import AudioSpectrogramTokenizer
from unimodal.types import Waveform

SIZES = {"n_mels": 64, "num_frames": 50, "patch_size": 16, "frequency_stride": 12, "time_stride": 9}
MEAN, STD = -4.2677393, 4.5689974  # of the stock extractor, which divides by twice the latter
LENGTHS = [200, 279, 280, 2000, 4119, 4120, 4200, 6001]  # samples: around a window, a hop and the whole


def build(rate=8000, **changes):
    torch.manual_seed(0)
    model = AudioSpectrogramTokenizer(32, rate, **(SIZES | {"mean": MEAN, "std": 2 * STD} | changes))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def extractor(rate):
    return ASTFeatureExtractor(
        sampling_rate=rate, num_mel_bins=64, max_length=50, mean=MEAN, std=STD, do_normalize=True
    )


def stock_model():
    torch.manual_seed(1)
    sizes = {key: SIZES[key] for key in ("patch_size", "frequency_stride", "time_stride")}
    config = ASTConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, num_mel_bins=64, max_length=50, **sizes
    )
    model = ASTModel(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def clips(lengths):
    rng = torch.Generator().manual_seed(0)
    return [torch.rand(length, generator=rng) - 0.5 for length in lengths]


def batch_of(model, sounds):
    rate = model.preprocess.sample_rate
    return collate([model.preprocess({"audio": Waveform(sound, rate)}) for sound in sounds])


def take_weights(model, stock):
    """What an import does: a patch's weights are the convolution's, flattened; tables as they are."""
    embeddings = stock.embeddings
    with torch.no_grad():
        model.project.weight.copy_(embeddings.patch_embeddings.projection.weight.flatten(1))
        model.project.bias.copy_(embeddings.patch_embeddings.projection.bias)
        model.prefix.copy_(torch.cat((embeddings.cls_token[0], embeddings.distillation_token[0])))
        model.position_table.copy_(embeddings.position_embeddings[0])


@pytest.mark.parametrize("rate", [8000, 16_000])
@pytest.mark.parametrize("ragged", [True, False])
def test_the_spectrogram_equals_the_stock_extractors(rate, ragged):
    model = build(rate)
    sounds = clips([length * rate // 8000 for length in LENGTHS] if ragged else [3000, 3000])
    wanted = extractor(rate)([sound.numpy() for sound in sounds], sampling_rate=rate, return_tensors="pt")
    ours = model.spectrogram(batch_of(model, sounds))
    torch.testing.assert_close(ours, wanted["input_values"], atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_tokens_equal_the_stock_embeddings():
    stock, model = stock_model(), build(num_prefix_tokens=2, learned_positions=True)
    take_weights(model, stock)
    sounds = clips(LENGTHS)
    features = extractor(8000)([sound.numpy() for sound in sounds], sampling_rate=8000, return_tensors="pt")
    tokens = model(batch_of(model, sounds))
    torch.testing.assert_close(tokens.embeds, stock.embeddings(**features), atol=1e-5, rtol=1e-5)
    assert tokens.mask.all() and not tokens.padded


def test_positions_are_frame_and_band_in_the_stock_order():
    model = build(learned_positions=True)
    assert model.position_grid == (5, 4)  # (64 - 16) // 12 + 1 bands, (50 - 16) // 9 + 1 columns
    positions = model(batch_of(model, clips([4000]))).positions
    assert positions.shape == (1, 20, 3)
    assert positions[0].tolist() == [[t, f, 0] for f in range(5) for t in range(4)]


def test_a_patch_is_bands_by_frames():
    model = build()
    batch = batch_of(model, clips([4000]))
    image, tokens = model.spectrogram(batch)[0].T, model(batch)
    patch = image[2 * 12 : 2 * 12 + 16, 3 * 9 : 3 * 9 + 16]  # band 2, column 3
    torch.testing.assert_close(tokens.embeds[0, 2 * 4 + 3], model.project(patch.reshape(-1)))


def test_a_clip_is_filled_with_zeros_before_normalisation():
    model = build()
    spectrogram = model.spectrogram(batch_of(model, clips([280])))  # 2 frames
    torch.testing.assert_close(spectrogram[:, 2:], torch.full((1, 48, 64), -MEAN / (2 * STD)))
    assert spectrogram[:, :2].std() > 0.1


@pytest.mark.parametrize("num", [0, 1, 199])
def test_a_clip_shorter_than_one_window_has_one_frame(num):
    model = build()
    alone = model.spectrogram(batch_of(model, clips([num])))
    together = model.spectrogram(batch_of(model, clips([num, 5000])))[:1]
    torch.testing.assert_close(alone, together, atol=1e-6, rtol=0)
    zeros = torch.cat((clips([num])[0], torch.zeros(200 - num)))
    wanted = extractor(8000)(zeros.numpy(), sampling_rate=8000, return_tensors="pt")["input_values"]
    torch.testing.assert_close(alone, wanted, atol=1e-5, rtol=0)


def test_preprocess_keeps_as_many_samples_as_the_frames_span():
    for rate in (8000, 11_025, 16_000, 44_100):
        model = build(rate)
        kept = model.preprocess({"audio": Waveform(torch.zeros(9 * rate), rate)})["input_values"]
        assert len(kept) == model.num_samples
        assert model.fbank.num_frames(torch.tensor(len(kept))) == model.num_frames
        assert model.fbank.num_frames(torch.tensor(len(kept) - 1)) == model.num_frames - 1


def test_samples_beyond_the_last_frame_are_cut_in_the_batch_too():
    model, [long] = build(), clips([9000])
    cut = batch_of(model, [long])
    assert torch.equal(model.spectrogram({"input_values": long[None]}), model.spectrogram(cut))
    mask = torch.ones(1, 9000, dtype=torch.bool)
    masked = model.spectrogram({"input_values": long[None], "input_values_mask": mask})
    assert torch.equal(masked, model.spectrogram(cut))


@pytest.mark.parametrize("kind", [torch.bool, torch.long, torch.float32])
def test_the_mask_may_be_of_any_type(kind):
    model = build()
    batch = batch_of(model, clips(LENGTHS))
    other = batch | {"input_values_mask": batch["input_values_mask"].to(kind)}
    assert torch.equal(model(other).embeds, model(batch).embeds)


def test_what_the_spectrogram_mask_covers_is_zero_before_normalisation():
    model = build()
    sounds = clips([2000, 4120])
    masks = [torch.ones(len(sound) // 80 + 1, 64, dtype=torch.bool) for sound in sounds]
    for mask in masks:
        mask[3:6], mask[:, 40:44] = False, False
    examples = [
        model.preprocess({"audio": Waveform(sound, 8000), "spectrogram_mask": mask})
        for sound, mask in zip(sounds, masks, strict=True)
    ]
    hidden, plain = model.spectrogram(collate(examples)), model.spectrogram(batch_of(model, sounds))
    zero = torch.full((), -MEAN / (2 * STD))
    for row, num_frames in enumerate((23, 50)):
        visible = torch.zeros(50, 64, dtype=torch.bool)
        visible[:num_frames] = masks[row][:num_frames]
        torch.testing.assert_close(hidden[row], torch.where(visible, plain[row], zero))
        assert torch.equal(hidden[row], model.spectrogram(collate([examples[row]]))[0])


def test_the_spectrogram_is_fp32_under_autocast():
    model = build()
    batch = batch_of(model, clips([3000, 4000]))
    with torch.autocast("cpu", torch.bfloat16):
        inside = model.spectrogram(batch)
    assert torch.equal(inside, model.spectrogram(batch))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"n_mels": 8}, "tokenizer.n_mels=8 is smaller than tokenizer.patch_size=16"),
        ({"num_frames": 15}, "tokenizer.num_frames=15 is smaller than tokenizer.patch_size=16"),
        ({"frequency_stride": 0}, "tokenizer.frequency_stride=0"),
        ({"time_stride": 0}, "tokenizer.time_stride=0"),
        ({"patch_size": 0}, "tokenizer.patch_size=0"),
        ({"std": 0.0}, "tokenizer.std=0.0"),
        ({"rate": 0}, "tokenizer.sample_rate=0"),
    ],
)
def test_a_size_that_does_not_fit_names_its_knob(changes, named):
    with pytest.raises(ValueError, match=named):
        build(**changes)

import pytest
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

from unimodal.data.collate import collate
from unimodal.tokenizers.audio_whisper import AudioWhisperTokenizer
from unimodal.tokenizers.whisper_mel import WhisperMel
from unimodal.types import Waveform

RATE, NUM = 16_000, 50  # a second
LENGTHS = [1, 159, 160, 161, 5000, 15_999, 16_000, 20_000]


def build(**changes):
    torch.manual_seed(0)
    model = AudioWhisperTokenizer(32, **({"num_positions": NUM} | changes))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model


def clips(lengths):
    rng = torch.Generator().manual_seed(0)
    loudness = (0.3, 1e-3, 1.0, 0.0)  # the floor depends on the loudest cell of each clip
    return [loudness[i % 4] * (torch.rand(n, generator=rng) - 0.5) for i, n in enumerate(lengths)]


def batch_of(model, sounds):
    return collate([model.preprocess({"audio": Waveform(sound, RATE)}) for sound in sounds])


def stock_features(sounds, n_mels=80):
    extract = WhisperFeatureExtractor(feature_size=n_mels, chunk_length=1)
    return extract([sound.numpy() for sound in sounds], sampling_rate=RATE, return_tensors="pt")[
        "input_features"
    ]


def stock_encoder(n_mels=80):
    torch.manual_seed(1)
    layers = {
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
    }
    ids = {
        "vocab_size": 16,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "decoder_start_token_id": 1,
    }
    config = WhisperConfig(
        d_model=32, num_mel_bins=n_mels, max_source_positions=NUM, encoder_ffn_dim=64, decoder_ffn_dim=64,
        **layers, **ids,
    )  # fmt: skip
    encoder = WhisperModel(config).encoder.eval()
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return encoder


def take_weights(model, encoder):
    model.conv1.load_state_dict(encoder.conv1.state_dict())
    model.conv2.load_state_dict(encoder.conv2.state_dict())
    with torch.no_grad():
        model.position_table.copy_(encoder.embed_positions.weight)


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize("lengths", [LENGTHS, [8000, 8000]], ids=["ragged", "even"])
def test_the_spectrogram_equals_the_stock_extractors(n_mels, lengths):
    model, sounds = build(n_mels=n_mels), clips(lengths)
    wanted = stock_features(sounds, n_mels).transpose(1, 2)
    torch.testing.assert_close(model.spectrogram(batch_of(model, sounds)), wanted, atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_tokens_equal_what_the_first_layer_of_the_stock_encoder_reads():
    encoder, model, sounds = stock_encoder(), build(), clips(LENGTHS)
    take_weights(model, encoder)
    read = []
    encoder.layers[0].register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    encoder(stock_features(sounds))
    tokens = model(batch_of(model, sounds))
    torch.testing.assert_close(tokens.embeds, read[0], atol=1e-5, rtol=0)
    assert tokens.mask.all() and not tokens.padded


def test_tokens_stand_in_a_row():
    positions = build()(batch_of(build(), clips([300]))).positions
    assert positions[0].tolist() == [[p, p, p] for p in range(NUM)]


def test_the_default_is_half_a_minute_as_in_the_stock_model():
    model = AudioWhisperTokenizer(32)
    assert model.preprocess.max_seconds == 30.0 and model.position_table.shape == (1500, 32)
    assert model.num_samples == WhisperFeatureExtractor().n_samples


def test_longer_clips_are_cut_in_worker_and_batch():
    model, [long] = build(), clips([20_000])
    cut = batch_of(model, [long])
    assert cut["input_values"].shape == (1, 16_000)
    mask = torch.ones(1, 20_000, dtype=torch.bool)
    for batch in ({"input_values": long[None]}, {"input_values": long[None], "input_values_mask": mask}):
        assert torch.equal(model.spectrogram(batch), model.spectrogram(cut))


def test_what_the_spectrogram_mask_covers_is_zero_and_the_silence_after_a_clip_stays():
    model, sounds = build(), clips([4000, 14_000])
    masks = [torch.ones(len(sound) // 160 + 1, 80, dtype=torch.bool) for sound in sounds]
    for mask in masks:
        mask[3:6], mask[:, 40:44] = False, False
    examples = [
        model.preprocess({"audio": Waveform(sound, RATE), "spectrogram_mask": mask})
        for sound, mask in zip(sounds, masks, strict=True)
    ]
    hidden, plain = model.spectrogram(collate(examples)), model.spectrogram(batch_of(model, sounds))
    for row, mask in enumerate(masks):
        visible = torch.ones(2 * NUM, 80, dtype=torch.bool)
        visible[: len(mask)] = mask
        assert torch.equal(hidden[row], plain[row] * visible)
        torch.testing.assert_close(hidden[row], model.spectrogram(collate([examples[row]]))[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_mel_is_fp32_also_under_autocast(dtype):
    mel, x = WhisperMel(RATE, 80), torch.stack(clips([3200])).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        inside = mel(x)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, mel(x.float()))


def test_the_convolutions_learn():
    model = build()
    model(batch_of(model, clips([4000]))).embeds.square().sum().backward()
    assert all(parameter.grad.any() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"sample_rate": 8000}, "tokenizer.sample_rate=8000 is too low"),
        ({"n_mels": 0}, "tokenizer.n_mels=0"),
        ({"num_positions": 0}, "tokenizer.num_positions=0"),
    ],
)
def test_a_size_that_does_not_fit_names_its_knob(changes, named):
    with pytest.raises(ValueError, match=named):
        build(**changes)

import pytest
import torch
from tokenizers import AddedToken, pre_tokenizers
from tokenizers import Tokenizer as FastTokenizer
from tokenizers.models import BPE

from unimodal.backbone.cache import KVCache
from unimodal.backbone.transformer import Transformer
from unimodal.model import Unimodal
from unimodal.tokenizers.audio import AudioFrameTokenizer
from unimodal.tokenizers.image import ImagePatchTokenizer
from unimodal.tokenizers.text import TextTokenizer


def vocabulary():
    fast = FastTokenizer(BPE({c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, []))
    fast.add_special_tokens([AddedToken("</s>", special=True)])
    return {"tokenizer": fast.to_str(), "eos_token": "</s>"}


def tokenizers(dim=32):
    return {
        "image": ImagePatchTokenizer(dim, image_size=(8, 12), patch_size=4),
        "text": TextTokenizer(dim, vocabulary(), max_len=16),
        "audio": AudioFrameTokenizer(dim, max_seconds=1.0),
    }


@pytest.fixture
def model():
    torch.manual_seed(0)
    built = Unimodal(tokenizers(), Transformer(32, 2, 4, num_registers=2)).eval()
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
            assert parameter.any(), name
    return built


def batch(num_text=5, samples=2000):
    rng = torch.Generator().manual_seed(0)
    return {
        "input_values": torch.rand(2, samples, generator=rng) - 0.5,
        "input_ids": torch.randint(256, (2, num_text), generator=rng),
        "pixel_values": torch.randint(256, (2, 3, 8, 12), generator=rng, dtype=torch.uint8),
        "labels": torch.zeros(2),
    }


def test_modalities_stand_in_the_order_of_the_tokenizers(model):
    whole = model.embed(batch())
    parts = [tokenizer(batch()) for tokenizer in model.tokenizers.values()]
    assert list(model.tokenizers) == ["image", "text", "audio"]
    assert torch.equal(whole.embeds, torch.cat([part.embeds for part in parts], 1))
    assert not whole.padded


def test_positions_of_modalities_do_not_overlap(model):
    sizes = [tokenizer(batch()).embeds.shape[1] for tokenizer in model.tokenizers.values()]
    image, text, audio = model.embed(batch()).positions.split(sizes, 1)
    assert image.amax() < text.amin() and text.amax() < audio.amin()
    assert torch.equal(text[0, 1] - text[0, 0], torch.ones(3))


@torch.no_grad()
def test_every_token_sees_every_modality(model):
    before, changed = model(batch()).embeds, batch()
    changed["pixel_values"] = 255 - changed["pixel_values"]
    assert ((model(changed).embeds - before).abs().amax((0, 2)) > 1e-5).all()


@torch.no_grad()
def test_under_causal_an_earlier_modality_does_not_see_a_later_one(model):
    before, changed = model(batch(), causal=True).embeds, batch()
    changed["input_values"] = -0.5 * changed["input_values"]
    after = model(changed, causal=True).embeds
    torch.testing.assert_close(after[:, :11], before[:, :11], atol=1e-6, rtol=1e-6)  # 6 patches, 5 tokens
    assert (after[:, 11:] - before[:, 11:]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("keys", "num"), [(["input_ids"], 5), (["pixel_values"], 6), (["input_values", "pixel_values"], 6 + 4)]
)
@torch.no_grad()
def test_a_missing_modality_is_left_out(model, keys, num):
    given = {key: batch()[key] for key in keys}
    tokens = model(given)
    assert tokens.embeds.shape == (2, num, 32) and tokens.embeds.isfinite().all()


def test_a_batch_without_any_modality_names_the_keys(model):
    with pytest.raises(ValueError, match="none of pixel_values, input_ids, input_values; it has labels"):
        model({"labels": torch.zeros(2)})


def test_widths_that_differ_are_refused():
    with pytest.raises(ValueError, match="the image tokenizer has dim=16, the backbone dim=32"):
        Unimodal(tokenizers(dim=16), Transformer(32, 1, 4))


@pytest.mark.parametrize("causal", [False, True])
@torch.no_grad()
def test_padding_of_one_modality_changes_no_other(model, causal):
    plain = batch(num_text=3)
    padded = plain | {
        "input_ids": torch.cat((plain["input_ids"], torch.full((2, 4), 77)), 1),
        "attention_mask": (torch.arange(7) < 3).long().expand(2, -1),
    }
    whole, alone = model(padded, causal=causal), model(plain, causal=causal)
    assert whole.padded
    torch.testing.assert_close(
        whole.embeds[whole.mask].view_as(alone.embeds), alone.embeds, atol=1e-5, rtol=1e-5
    )


@torch.no_grad()
def test_prefix_and_cache_reach_the_backbone(model):
    text = {"input_ids": batch()["input_ids"]}
    causal = model(text, causal=True).embeds
    prefix = (torch.arange(5) < 3).expand(2, -1)
    assert not torch.allclose(model(text, causal=True, prefix=prefix).embeds, causal, atol=1e-3)
    cache, parts = KVCache(7), []
    for start, end in [(0, 3), (3, 4), (4, 5)]:
        places = torch.arange(start, end)[None]
        piece = {"input_ids": text["input_ids"][:, start:end], "position_ids": places}
        parts.append(model(piece, causal=True, cache=cache).embeds)
    torch.testing.assert_close(torch.cat(parts, 1), causal, atol=1e-5, rtol=1e-5)


def test_gradients_reach_every_parameter(model):
    model(batch()).embeds.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any() or name.endswith("registers"), name

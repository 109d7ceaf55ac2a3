"""Parts in any order against the plain concatenation, and against each sample alone."""

from itertools import pairwise

import pytest
import torch

from unimodal.backbone.transformer import Transformer
from unimodal.data.collate import collate
from unimodal.data.examples import Examples
from unimodal.data.sampling import Draw
from unimodal.data.vocabulary import byte_vocabulary
from unimodal.model import Unimodal
from unimodal.tasks.pooling import LastPooling, MeanPooling
from unimodal.tokenizers.audio import AudioFrameTokenizer
from unimodal.tokenizers.image import ImagePatchTokenizer
from unimodal.tokenizers.text import TextTokenizer
from unimodal.types import Waveform

IMAGE = torch.arange(192, dtype=torch.uint8).view(3, 8, 8)
AUDIO = Waveform(torch.rand(2000, generator=torch.Generator().manual_seed(0)) - 0.5, 16_000)
LONGER = Waveform(AUDIO.samples.repeat(2), 16_000)
SAMPLES = (
    [{"text": "two words"}, {"image": IMAGE}, {"text": "more"}, {"audio": AUDIO}],
    [{"audio": LONGER}],
    [{"image": 255 - IMAGE}, {"text": "a longer text than the others"}],
    [{"image": IMAGE}, {"image": IMAGE // 2}, {"image": 255 - IMAGE}],
)


@pytest.fixture(params=[0, 2], ids=["bare", "prefixed"])
def model(request):
    torch.manual_seed(0)
    prefix = request.param
    tokenizers = {
        "image": ImagePatchTokenizer(32, image_size=8, patch_size=4, num_prefix_tokens=prefix),
        "text": TextTokenizer(32, byte_vocabulary(None), max_len=40, learned_positions=True),
        "audio": AudioFrameTokenizer(32, max_seconds=1.0),
    }
    built = Unimodal(tokenizers, Transformer(32, 2, 4)).eval()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    return built


def batch_of(model, *samples):
    preprocess = {field: tokenizer.preprocess for field, tokenizer in model.tokenizers.items()}
    rows = [{"parts": sample} if isinstance(sample, list) else sample for sample in samples]
    examples = Examples(rows, preprocess)
    return collate([examples[Draw(0, index)] for index in range(len(rows))])


def assert_same(tokens, row, alone):
    """One row of a batch holds what the sample alone does."""
    real = alone.mask[0]
    assert tokens.mask[row].sum() == real.sum()
    torch.testing.assert_close(tokens.embeds[row][tokens.mask[row]], alone.embeds[0][real], atol=1e-5, rtol=0)
    positions = tokens.positions.expand(len(tokens.embeds), -1, -1)
    torch.testing.assert_close(positions[row][tokens.mask[row]], alone.positions[0][real])


def test_parts_in_the_order_of_the_tokenizers_are_the_plain_concatenation(model):
    texts = ("short", "a longer one", "mid one")
    plain = [{"image": IMAGE // (i + 1), "text": text, "audio": AUDIO} for i, text in enumerate(texts)]
    parts = [[{field: value} for field, value in sample.items()] for sample in plain]
    for encode, tolerance in ((model.embed, 0), (model, 1e-5)):
        wanted, given = encode(batch_of(model, *plain)), encode(batch_of(model, *parts))
        assert wanted.mask.shape[1] == given.mask.shape[1] and wanted.padded and given.padded
        for row in range(3):
            real, place = wanted.mask[row], given.mask[row]
            values = given.embeds[row][place], wanted.embeds[row][real]
            torch.testing.assert_close(*values, atol=tolerance, rtol=0)
            positions = wanted.positions.expand(3, -1, -1)
            assert torch.equal(given.positions[row][place], positions[row][real])


def test_equal_lengths_give_the_very_tensors_of_the_plain_path(model):
    wanted = model.embed(batch_of(model, {"image": IMAGE, "text": "one", "audio": AUDIO}))
    given = model.embed(batch_of(model, [{"image": IMAGE}, {"text": "one"}, {"audio": AUDIO}]))
    assert torch.equal(given.embeds, wanted.embeds) and torch.equal(given.positions, wanted.positions)
    assert given.mask.all() and not given.padded


@pytest.mark.parametrize("causal", [False, True])
@torch.no_grad()
def test_a_sample_does_not_depend_on_its_batch(model, causal):
    together = model(batch_of(model, *SAMPLES), causal=causal)
    for row, sample in enumerate(SAMPLES):
        assert_same(together, row, model(batch_of(model, sample), causal=causal))


def test_padding_stands_at_the_end(model):
    mask = model.embed(batch_of(model, *SAMPLES)).mask
    assert torch.equal(mask, torch.arange(mask.shape[1]) < mask.sum(1, keepdim=True))
    assert mask.any(0).all()


def test_each_part_begins_after_the_last_coordinate_of_the_one_before(model):
    sample = SAMPLES[0]
    tokens = model.embed(batch_of(model, sample))
    alone = [model.embed(batch_of(model, [part])) for part in sample]
    pieces = tokens.positions.split([one.positions.shape[1] for one in alone], 1)
    for before, after in pairwise(pieces):
        assert torch.equal(after.min(), before.max() + 1)
    for piece, one in zip(pieces, alone, strict=True):
        assert torch.equal(piece - piece[:, :1], one.positions - one.positions[:, :1])


@torch.no_grad()
def test_order_matters(model):
    parts = SAMPLES[0]
    tokens = model(batch_of(model, parts, parts[::-1]))
    for pooling in (MeanPooling(), LastPooling()):
        first, second = pooling(tokens)
        assert (first - second).abs().max() > 1e-3


def test_gradients_reach_every_part_and_no_padding(model):
    batch = batch_of(model, *SAMPLES)
    MeanPooling()(model(batch)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


def test_a_modality_that_a_batch_lacks_is_not_asked_for(model):
    batch = batch_of(model, SAMPLES[1], SAMPLES[1] * 2)
    assert batch.keys() >= {"parts", "input_values"} and "pixel_values" not in batch
    tokens = model(batch)
    assert tokens.mask.sum(1).tolist() == [tokens.mask.shape[1] // 2, tokens.mask.shape[1]]


def test_a_batch_says_which_tokenizer_reads_each_part(model):
    batch = batch_of(model, *SAMPLES)
    assert batch["parts"].tolist() == [[1, 0, 1, 2], [2, -1, -1, -1], [0, 1, -1, -1], [0, 0, 0, -1]]
    assert len(batch["pixel_values"]) == 5 and len(batch["input_ids"]) == len(batch["attention_mask"]) == 3


def test_items_and_parts_that_do_not_agree_are_refused(model):
    batch = batch_of(model, *SAMPLES)
    with pytest.raises(ValueError, match="the batch has 9 items for 10 parts"):
        model.embed(batch | {"pixel_values": batch["pixel_values"][1:]})


def test_packed_parts_are_refused(model):
    batch = batch_of(model, SAMPLES[2])
    with pytest.raises(ValueError, match="packed sequences"):
        model.embed(batch | {"segments": torch.zeros_like(batch["input_ids"])})


def test_half_precision_parts_join_full_ones(model):
    with torch.autocast("cpu", torch.bfloat16):
        tokens = model(batch_of(model, *SAMPLES))
    assert tokens.embeds.isfinite().all()

"""Packed and padded batches give the same loss and the same gradients, whatever the task and the modality."""

import pytest
import torch

from unimodal.backbone.transformer import Transformer
from unimodal.data.packing import PackingCollate
from unimodal.data.vocabulary import byte_vocabulary
from unimodal.model import Unimodal
from unimodal.tasks.captioning import Captioning
from unimodal.tasks.classification import Classification
from unimodal.tasks.language_modeling import LanguageModeling
from unimodal.tasks.masked_modeling import MaskedModeling
from unimodal.tasks.masked_text import MaskedText
from unimodal.tasks.masking import Masking
from unimodal.tasks.pooling import AttentionPooling, FirstPooling, LastPooling, MeanPooling
from unimodal.tokenizers.audio import AudioFrameTokenizer, AudioPatchTokenizer
from unimodal.tokenizers.image_any import ImageAnySizeTokenizer
from unimodal.tokenizers.text import TextTokenizer
from unimodal.tokenizers.video import VideoTubeletTokenizer
from unimodal.types import Waveform

SOUND = {"sample_rate": 800, "n_mels": 16, "window_length": 64, "hop_length": 16, "max_seconds": 1.0}
LENGTHS = (9, 3, 5, 1, 2, 7)


def make_tokenizers(name):
    prefix = {"num_prefix_tokens": 2}
    text = TextTokenizer(32, byte_vocabulary(None), max_len=16, **prefix)
    audio = AudioPatchTokenizer(32, **SOUND, patch_size=8, stride=5, learned_positions=True)
    clip = VideoTubeletTokenizer(32, num_frames=4, image_size=8, patch_size=8, **prefix)
    return {
        "image": {"image": ImageAnySizeTokenizer(32, patch_size=2, max_patches=40, **prefix)},
        "audio": {"audio": audio},
        "frames": {"audio": AudioFrameTokenizer(32, **SOUND, stack=2, **prefix)},
        "text": {"text": text},
        "video": {"video": clip, "text": text},  # clips alone are all of one length
        "all": {"audio": audio, "video": clip, "text": text},
    }[name]


def sample(length, seed):
    rng = torch.Generator().manual_seed(seed)
    return {
        "image": torch.randint(256, (3, 2 * length, 6), generator=rng, dtype=torch.uint8),
        "audio": Waveform(torch.rand(60 * length, generator=rng) - 0.5, 800),
        "video": torch.randint(256, (4, 3, 8, 8), generator=rng, dtype=torch.uint8),
        "text": "a word"[:length] * 2,
    }


def make_batches(model, target, preprocess=None):
    """Padded, and the same with rows."""
    preprocess = preprocess or {name: one.preprocess for name, one in model.tokenizers.items()}
    examples = []
    for seed, length in enumerate(LENGTHS):
        example = {}
        for one in preprocess.values():
            example |= one(sample(length, seed))
        examples.append(target(example, seed))
    packed = PackingCollate(preprocess)(examples)
    assert packed["rows"].amax() + 1 < len(LENGTHS)
    return {key: value for key, value in packed.items() if key != "rows"}, packed


def same(task, padded, packed):
    results = []
    for batch in (padded, packed):
        task.zero_grad()
        output = task(batch)
        output.loss.backward()
        results.append((output, [p.grad.clone() for p in task.parameters() if p.grad is not None]))
    (one, gradients), (other, others) = results
    torch.testing.assert_close(other.loss, one.loss, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(other.logits[: len(one.logits)], one.logits, atol=1e-4, rtol=1e-4)
    assert len(gradients) == len(others) and any(gradient.any() for gradient in gradients)
    for gradient, again in zip(gradients, others, strict=True):
        torch.testing.assert_close(again, gradient, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("modality", ["image", "audio", "frames", "text", "video", "all"])
@pytest.mark.parametrize("causal", [False, True])
def test_classification_is_the_same_packed(randomise, modality, causal):
    torch.manual_seed(0)
    tokenizers = make_tokenizers(modality)
    model = randomise(Unimodal(tokenizers, Transformer(32, 2, 4, num_registers=2)))
    poolings = (MeanPooling(), FirstPooling(1), LastPooling(), AttentionPooling(32, 2))
    for pooling in poolings:
        task = randomise(Classification(model, ["a", "b", "c"], pooling, causal=causal))
        same(task, *make_batches(model, lambda one, seed: one | {"labels": torch.tensor(seed % 3)}))


def test_language_modeling_is_the_same_packed(text_model, randomise):
    model = text_model()
    task = randomise(LanguageModeling(model, sample_len=4))

    def target(example, seed):
        ids = example["input_ids"]
        return {"input_ids": ids, "labels": ids, "byte_counts": torch.ones_like(ids)}

    padded, packed = make_batches(model, target)
    tokens = task(packed).tokens
    assert torch.equal(tokens.mask, padded["attention_mask"][:, :-1])
    logits = task(padded).logits * tokens.mask[..., None], task(packed).logits * tokens.mask[..., None]
    torch.testing.assert_close(*logits, atol=1e-4, rtol=1e-4)
    same(_Masked(task), padded, packed)


def seeded(example, seed):
    return {**example, "seed": torch.tensor(seed), "counted": torch.tensor(True)}


def test_captioning_is_the_same_packed(randomise):
    torch.manual_seed(0)
    sound = AudioFrameTokenizer(32, **SOUND, stack=2, num_prefix_tokens=2)
    text = TextTokenizer(32, byte_vocabulary(None), max_len=16)
    model = randomise(Unimodal({"audio": sound, "text": text}, Transformer(32, 2, 4, num_registers=2)))
    task = randomise(Captioning(model, label_smoothing=0.0))
    same(_Loss(task), *make_batches(model, seeded, task.preprocess))


@pytest.mark.parametrize("modality", ["image", "frames"])
def test_masked_modeling_is_the_same_packed(randomise, modality):
    torch.manual_seed(0)
    model = randomise(Unimodal(make_tokenizers(modality), Transformer(32, 2, 4, num_registers=2)))
    task = randomise(MaskedModeling(model, Masking([[0, 1, 2]], 0.5)))
    same(_Loss(task), *make_batches(model, seeded))


def test_masked_text_is_the_same_packed(text_model, randomise):
    model = text_model()
    task = randomise(MaskedText(model, Masking([[0]], 0.5)))
    batches = make_batches(model, lambda one, seed: seeded(one, seed) | {"labels": one["input_ids"]})
    same(_Loss(task), *batches)


class _Loss(torch.nn.Module):
    """A task without its logits, some of which no loss reads."""

    def __init__(self, task):
        super().__init__()
        self.task = task

    def forward(self, batch):
        output = self.task(batch)
        return type(output)(output.loss, output.count, output.logits[:0], output.tokens)


class _Masked(torch.nn.Module):
    """A task whose logits of padding, which no one reads, are left out of the comparison."""

    def __init__(self, task):
        super().__init__()
        self.task = task

    def forward(self, batch):
        output = self.task(batch)
        logits = output.logits * output.tokens.mask[..., None]
        return type(output)(output.loss, output.count, logits, output.tokens)

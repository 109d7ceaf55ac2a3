from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from unimodal.backbone.config import BlockConfig
from unimodal.backbone.transformer import Transformer
from unimodal.data.collate import collate
from unimodal.data.sampling import Draw
from unimodal.data.vocabulary import byte_vocabulary
from unimodal.model import Unimodal
from unimodal.tasks.masked_modeling import MaskedModeling
from unimodal.tasks.masking import Masking
from unimodal.tokenizers.audio import AudioFrameTokenizer, AudioPatchTokenizer
from unimodal.tokenizers.audio_spectrogram import AudioSpectrogramTokenizer
from unimodal.tokenizers.audio_whisper import AudioWhisperTokenizer
from unimodal.tokenizers.image import ImageConvTokenizer, ImagePatchTokenizer
from unimodal.tokenizers.text import TextTokenizer
from unimodal.tokenizers.video import VideoConvTokenizer, VideoTubeletTokenizer

MEL = {"sample_rate": 8000, "n_mels": 16, "window_length": 200, "hop_length": 80}
TOKENIZERS = {
    "patch": lambda **o: ImagePatchTokenizer(32, image_size=16, patch_size=4, **o),
    "conv": lambda **o: ImageConvTokenizer(32, image_size=16, num_layers=2, **o),
    "tubelet": lambda **o: VideoTubeletTokenizer(32, num_frames=4, image_size=16, patch_size=4, **o),
    "video_conv": lambda **o: VideoConvTokenizer(32, num_frames=4, image_size=16, num_layers=2, **o),
    "frame": lambda **o: AudioFrameTokenizer(32, stack=2, **MEL, **o),
    "audio_patch": lambda **o: AudioPatchTokenizer(32, patch_size=8, stride=8, **MEL, **o),
    "spectrogram": lambda **o: AudioSpectrogramTokenizer(32, n_mels=32, num_frames=64, **o),
}
every = pytest.mark.parametrize("kind", TOKENIZERS)


def tensors(tokenizer, seed=0, seconds=0.4):
    """One example of what the tokenizer reads."""
    generator = torch.Generator().manual_seed(seed)
    if tokenizer.input_key == "input_values":
        return {"input_values": 0.3 * torch.randn(round(8000 * seconds), generator=generator)}
    sizes = (4, 3, 16, 16) if "videos" in tokenizer.input_key else (3, 16, 16)
    return {tokenizer.input_key: torch.randint(0, 256, sizes, generator=generator, dtype=torch.uint8)}


def batch_of(tokenizer, num=3, **options):
    return collate([tensors(tokenizer, i, **options) | extra(i) for i in range(num)])


def extra(seed, counted=True):
    return {"seed": torch.tensor(seed * 10**12), "counted": torch.tensor(counted)}


@pytest.fixture
def make(randomise):
    """A task none of whose parts is zero."""

    def _make(kind="patch", ratio=0.75, together=((0, 1, 2),), block=None, **options):
        torch.manual_seed(0)
        tokenizer = TOKENIZERS[kind](**options.pop("tokenizer", {}))
        model = Unimodal({"medium": tokenizer}, Transformer(32, 2, 4, block))
        return randomise(MaskedModeling(model, Masking(together, ratio), **options)).eval()

    return _make


def tokenizer_of(task):
    return task.model.tokenizers["medium"]


@every
@pytest.mark.parametrize("prefix", [0, 2])
def test_the_backbone_reads_visible_tokens_only_and_the_prefix_always(make, kind, prefix):
    task = make(kind, tokenizer={"num_prefix_tokens": prefix, "learned_positions": True})
    batch = batch_of(tokenizer_of(task))
    num = task.model.embed(batch).embeds.shape[1] - prefix
    output = task(batch)
    assert output.tokens.embeds.shape[1] == prefix + num - int(0.75 * num)
    assert output.count == 3 * int(0.75 * num)
    assert output.logits.shape == (3, int(0.75 * num), tokenizer_of(task).target_size)
    output.loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in task.parameters())


@every
def test_targets_stand_beside_their_tokens(make, kind):
    tokenizer = tokenizer_of(make(kind))
    batch = batch_of(tokenizer)
    targets = tokenizer.targets(batch)
    assert targets.shape == (*tokenizer(batch).embeds.shape[:2], tokenizer.target_size)
    if hasattr(tokenizer, "project"):
        assert torch.allclose(tokenizer.project(targets), tokenizer(batch).embeds, atol=1e-5)


@pytest.mark.parametrize(("kind", "size"), [("conv", (3, 4, 4)), ("video_conv", (2, 3, 4, 4))])
def test_targets_of_a_stem_are_the_pixels_of_the_place(make, kind, size):
    tokenizer = tokenizer_of(make(kind))
    batch = batch_of(tokenizer)
    pixels = tokenizer.normalise(batch[tokenizer.input_key])
    last = pixels[..., -4:, -4:] if kind == "conv" else pixels[:, -2:, :, -4:, -4:].transpose(1, 2)
    assert torch.equal(tokenizer.targets(batch)[:, -1], last.flatten(1))


def test_the_loss_is_the_error_of_hidden_patches_normalised_one_by_one(make):
    task = make()
    batch = batch_of(tokenizer_of(task))
    output = task(batch)
    hidden = task.masking(torch.ones(3, 16).bool(), tokenizer_of(task)(batch).positions, batch["seed"])
    total = 0.0
    for row in range(3):
        wanted = tokenizer_of(task).targets(batch)[row][hidden[row]]
        wanted = F.layer_norm(wanted, wanted.shape[-1:], eps=1e-6)
        total += F.mse_loss(output.logits[row], wanted).item() / 3
    assert output.loss.item() == pytest.approx(total, rel=1e-4)
    plain = make(norm_targets=False)(batch)
    assert plain.loss.item() != pytest.approx(total, rel=1e-3)


@every
def test_what_is_hidden_can_not_be_seen(make, kind):
    task = make(kind)
    tokenizer = tokenizer_of(task)
    batch = batch_of(tokenizer, seconds=0.6)
    found = {}

    def choose(mask, positions):
        found["hidden"] = task.masking(mask, positions, batch["seed"])
        return found["hidden"]

    before, hidden = tokenizer.hide(batch, choose)
    if tokenizer.input_key == "input_values":
        return  # windows of neighbouring frames overlap by nature
    targets = tokenizer.targets(batch)
    noise = torch.randn(targets.shape, generator=torch.Generator().manual_seed(1))
    changed = torch.where(hidden[..., None], noise, targets)
    after, _ = tokenizer.hide({tokenizer.input_key: uncut(changed, tokenizer)}, choose)
    seen = ~hidden
    assert torch.allclose(before.embeds[seen], after.embeds[seen], atol=1e-5)


def uncut(targets, tokenizer):
    """Normalised pixels whose targets these are."""
    if "videos" in tokenizer.input_key:
        t, r, c = tokenizer.position_grid
        x = targets.view(len(targets), t, r, c, 3, 4 // t, 16 // r, 16 // c)
        return x.permute(0, 1, 5, 4, 2, 6, 3, 7).reshape(len(targets), 4, 3, 16, 16)
    r, c = tokenizer.position_grid
    x = targets.view(len(targets), r, c, 3, 16 // r, 16 // c)
    return x.permute(0, 3, 1, 4, 2, 5).reshape(len(targets), 3, 16, 16)


@pytest.mark.parametrize("kind", ["frame", "audio_patch"])
def test_padding_is_neither_hidden_nor_scored_and_changes_nothing(make, kind):
    task = make(kind)
    seconds = (0.5, 0.23, 0.8)
    examples = [tensors(tokenizer_of(task), i, s) | extra(i) for i, s in enumerate(seconds)]
    together = task(collate(examples))
    alone = [task(collate([example])) for example in examples]
    assert together.count == sum(one.count for one in alone)
    total = sum(one.loss * one.count for one in alone)
    assert torch.allclose(together.loss * together.count, total, rtol=1e-4)
    for row, one in enumerate(alone):
        assert torch.allclose(together.logits[row, : one.logits.shape[1]], one.logits[0], atol=1e-4)


def test_uncounted_samples_move_nothing(make):
    task = make()
    examples = [tensors(tokenizer_of(task), i) | extra(i) for i in range(2)]
    filled = [*examples, tensors(tokenizer_of(task), 5) | extra(5, counted=False)]
    one, two = task(collate(examples)), task(collate(filled))
    assert one.count == two.count and torch.allclose(one.loss, two.loss, atol=1e-6)
    none = task(collate([tensors(tokenizer_of(task)) | extra(0, counted=False)]))
    assert none.loss == 0 and none.count == 0


def test_the_figure_does_not_depend_on_the_batch_size(make, validate):
    task = make()
    examples = [tensors(tokenizer_of(task), i) | extra(i) for i in range(6)]
    whole = validate(task, [collate(examples)])
    parts = validate(task, [collate(examples[:1]), collate(examples[1:])])
    assert whole["val/loss"] == pytest.approx(parts["val/loss"], rel=1e-5)


def test_masks_are_new_in_each_epoch_of_training_and_fixed_in_validation(make):
    task = make()
    preprocess = {"image": tokenizer_of(task).preprocess}
    samples = [{"image": tensors(tokenizer_of(task), i)["pixel_values"]} for i in range(4)]
    for training in (True, False):
        dataset = MaskedModeling.examples(samples, preprocess, training, seed=3)
        seeds = [int(dataset[Draw(epoch, index)]["seed"]) for epoch in range(3) for index in range(4)]
        assert len(set(seeds)) == (12 if training else 4)


def test_a_spectrogram_mask_is_an_augmentation_of_the_input_only(make):
    tokenizer = tokenizer_of(make("frame"))
    batch = batch_of(tokenizer)
    masked = batch | {"spectrogram_mask": torch.zeros(3, 41, 16)}
    assert torch.equal(tokenizer.targets(batch), tokenizer.targets(masked))
    assert not torch.equal(tokenizer(batch).embeds, tokenizer(masked).embeds)


def test_the_decoder_knows_places_also_where_the_backbone_does_not_rotate(make):
    task = make(block=replace(BlockConfig(), rope_theta=None), tokenizer={"learned_positions": True})
    assert task.decoder.config.rope_theta and task.decoder.dim == 16 and len(task.backbones) == 2
    output = task(batch_of(tokenizer_of(task)))
    assert not torch.allclose(output.logits[:, 0], output.logits[:, 1])


def test_vectors_are_of_the_whole_sample(make):
    task = make()
    batch = {"pixel_values": batch_of(tokenizer_of(task))["pixel_values"]}
    assert torch.allclose(task.vectors(batch), task.model(batch).embeds.mean(1), atol=1e-6)
    with pytest.raises(ValueError, match="MaskedModeling has no answers; embeddings=true"):
        task.answer(batch)


@pytest.mark.parametrize(
    "tokenizer", [TextTokenizer(32, byte_vocabulary(None)), AudioWhisperTokenizer(32, num_positions=8)]
)
def test_tokens_that_stand_for_nothing_of_their_own_are_refused(tokenizer):
    with pytest.raises(ValueError, match=f"{type(tokenizer).__name__} has nothing to reconstruct"):
        MaskedModeling(Unimodal({"medium": tokenizer}, Transformer(32, 1, 2)), Masking([[0]], 0.5))


def test_several_modalities_are_refused():
    tokenizers = {"image": TOKENIZERS["patch"](), "audio": TOKENIZERS["frame"]()}
    with pytest.raises(ValueError, match="one modality, not image, audio"):
        MaskedModeling(Unimodal(tokenizers, Transformer(32, 1, 2)), Masking([[0]], 0.5))


def test_it_learns_to_reconstruct(make):
    torch.manual_seed(0)
    model = Unimodal({"medium": TOKENIZERS["patch"]()}, Transformer(32, 2, 4))
    task = MaskedModeling(model, Masking([[0, 1, 2]], 0.5))
    tiles = torch.randint(0, 256, (4, 3, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    images = tiles.repeat(1, 1, 4, 4)  # what is hidden is what is seen
    optimizer = torch.optim.AdamW(task.parameters(), 5e-3)
    losses = []
    for step in range(60):
        batch = collate([{"pixel_values": image} | extra(step * 4 + i) for i, image in enumerate(images)])
        loss = task(batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(1, abs=0.05) and sum(losses[-5:]) / 5 < 0.3

import math

import pytest
import torch
import torch.nn.functional as F

from unimodal.backbone.transformer import Transformer
from unimodal.data.collate import collate
from unimodal.data.sampling import Draw
from unimodal.model import Unimodal
from unimodal.tasks.masked_text import MaskedText
from unimodal.tasks.masking import Masking
from unimodal.tokenizers.image import ImagePatchTokenizer
from unimodal.types import IGNORED


@pytest.fixture
def make(text_model, randomise):
    """A task none of whose parts is zero."""

    def _make(ratio=0.15, tokenizer=None, **backbone):
        task = MaskedText(text_model({"max_len": 64, **(tokenizer or {})}, **backbone), Masking([[0]], ratio))
        return randomise(task).eval()

    return _make


def example(seed, length=40, counted=True):
    ids = torch.randint(257, (length,), generator=torch.Generator().manual_seed(seed))
    labels = ids if counted else torch.full_like(ids, IGNORED)
    return {"input_ids": ids, "labels": labels, "seed": torch.tensor(seed * 10**12)}


def embeds_of(task, batch, corrupted):
    """What the backbone reads."""
    text = task.model.tokenizers["text"]
    return corrupted.embeds[:, text.num_prefix_tokens :], task.model.embed(batch).embeds[
        :, text.num_prefix_tokens :
    ]


@pytest.mark.parametrize(
    "options", [{}, {"learned_positions": True}, {"num_prefix_tokens": 2, "learned_positions": True}]
)
def test_of_the_hidden_tokens_80_10_10_are_masked_replaced_and_kept(make, options):
    task = make(tokenizer=options)
    batch = collate([example(i, 64) for i in range(200)])
    hidden = task._hidden(batch)
    assert hidden.sum(1).tolist() == [9] * 200
    read, plain = embeds_of(task, batch, task._corrupted(batch, hidden))
    assert torch.equal(read[~hidden], plain[~hidden])
    text = task.model.tokenizers["text"]
    places = 0 if text.position_table is None else text.position_table[text.num_prefix_tokens :][None, :64]
    masked = (read - places - task.mask_token).abs().amax(-1) < 1e-5
    kept = (read == plain).all(-1) & hidden
    assert not (masked & ~hidden).any()
    shares = [one.sum() / hidden.sum() for one in (masked, hidden & ~masked & ~kept, kept)]
    assert [round(share.item(), 1) for share in shares] == [0.8, 0.1, 0.1]


def test_the_loss_is_the_cross_entropy_of_the_hidden_tokens(make):
    task = make()
    batch = collate([example(i) for i in range(3)])
    output = task(batch)
    hidden = task._hidden(batch)
    tokens = task.model.backbone(task._corrupted(batch, hidden))
    wanted = F.cross_entropy(task.head(tokens.embeds)[hidden], batch["input_ids"][hidden])
    assert torch.allclose(output.loss, wanted, atol=1e-5) and output.count == 3 * 6
    output.loss.backward()
    assert all(p.grad is not None for p in task.parameters())


def test_padding_changes_nothing_and_uncounted_windows_do_not_count(make):
    task = make()
    examples = [example(1, 40), example(2, 23), example(3, 31, counted=False)]
    together, alone = task(collate(examples)), [task(collate([one])) for one in examples]
    assert together.count == 6 + 3 and alone[2].count == 0 and alone[2].loss == 0
    total = sum(one.loss * one.count for one in alone)
    assert torch.allclose(together.loss * together.count, total, rtol=1e-4)


def test_figures_and_samples_are_of_the_whole_validation(make, validate):
    task = make()
    examples = [example(i) for i in range(5)]
    figures = validate(task, [collate(examples[:2]), collate(examples[2:])])
    whole = validate(task, [collate(examples)])
    assert figures["val/accuracy"] == whole["val/accuracy"]
    assert figures["val/loss"] == pytest.approx(whole["val/loss"], rel=1e-5)
    [line] = task.samples()
    assert line.count("|") >= 6 and not task.samples()


def test_windows_cover_the_texts_and_masks_are_fixed_in_validation(make):
    preprocess = {"text": make().model.tokenizers["text"].preprocess}
    samples = [{"text": "some words " * 30}, {"text": "and more"}]
    val = MaskedText.examples(samples, preprocess, training=False)
    ids = [val[Draw(0, i)]["input_ids"] for i in range(len(val))]
    assert max(map(len, ids)) == 64
    assert val[Draw(0, 1)]["seed"] == val[Draw(5, 1)]["seed"] != val[Draw(0, 2)]["seed"]


def test_it_learns_from_what_is_seen(text_model):
    torch.manual_seed(0)
    task = MaskedText(text_model({"max_len": 32}), Masking([[0]], 0.15))
    texts = torch.tensor([*b"abcdefgh"])[:, None].expand(-1, 32)  # each of one letter
    optimizer = torch.optim.AdamW(task.parameters(), 5e-3)
    for step in range(80):
        seeds = torch.arange(8) + 8 * step
        output = task({"input_ids": texts, "labels": texts, "seed": seeds})
        assert step or output.loss.item() == pytest.approx(math.log(257), rel=1e-4)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
    assert output.loss < 0.5


def test_vectors_need_neither_seed_nor_labels(make):
    task = make()
    assert task.vectors({"input_ids": example(0)["input_ids"][None]}).shape == (1, 32)
    with pytest.raises(ValueError, match="MaskedText has no answers"):
        task.answer({})


def test_only_text_is_read():
    tokenizer = ImagePatchTokenizer(32, image_size=8, patch_size=4)
    with pytest.raises(ValueError, match="text alone, not image"):
        MaskedText(Unimodal({"image": tokenizer}, Transformer(32, 1, 2)), Masking([[0]], 0.15))

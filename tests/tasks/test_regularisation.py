"""Mixup, cutmix, token dropout and head dropout: what they draw and keep, and the loss of a mixture."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from unimodal.data.collate import collate
from unimodal.data.loader import ResumableDataLoader
from unimodal.data.packing import PackingCollate
from unimodal.data.sampling import Draw, ResumableBatchSampler
from unimodal.data.sources.digits import Digits
from unimodal.tasks.classification import Classification
from unimodal.tasks.multi_label import MultiLabel
from unimodal.tasks.numeric import Numeric
from unimodal.tasks.pooling import FirstPooling, MeanPooling
from unimodal.tasks.regression import Regression
from unimodal.tasks.regularisation import Regularisation, partners
from unimodal.tasks.single_label import SingleLabel
from unimodal.tokenizers.pixels import grid
from unimodal.types import TokenSequence

NAMES = [str(i) for i in range(10)]
TEXTS = ["a", "good film", "bad", "a rather long one", "so so", "never again", "", "fine, thanks"]
ALL = {"mixup": 0.4, "cutmix": 1.0, "token_dropout": 0.3, "head_dropout": 0.2}
SEEDS = torch.arange(64) * 7919


def sequence(batch=64, rows=6, columns=6, lengths=None):
    """Tokens whose embeddings are the number of their sample."""
    num = rows * columns
    embeds = torch.arange(batch).float()[:, None, None].expand(-1, num, 4).clone()
    mask = torch.ones(batch, num, dtype=torch.bool)
    if lengths is not None:
        mask = torch.arange(num) < torch.tensor(lengths)[:, None]
        embeds[~mask] = 1000.0  # what padding holds
    return TokenSequence(
        embeds, mask, grid(1, rows, columns, device=embeds.device), padded=lengths is not None
    )


def text_task(text_model, randomise, pooling=None, **options):
    torch.manual_seed(0)
    task = Classification(text_model({"max_len": 24}), ["a", "b", "c"], pooling or MeanPooling(), **options)
    randomise(task.head)
    return task.train()


def text_examples(task, epoch=0):
    rows = [{"text": text or "x", "label": i % 3} for i, text in enumerate(TEXTS)]
    dataset = task.examples(rows, task.preprocess, training=True)
    return [dataset[Draw(epoch, index)] for index in range(len(rows))]


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
@pytest.mark.parametrize("value", [-0.1, float("inf"), float("nan")])
def test_an_invalid_alpha_is_named(name, value):
    with pytest.raises(ValueError, match=f"task.{name}={value} is not"):
        Regularisation(**{name: value})


@pytest.mark.parametrize("name", ["token_dropout", "head_dropout"])
@pytest.mark.parametrize("value", [-0.1, 1.0, 0.0001, float("nan")])
def test_an_invalid_share_is_named(name, value):
    with pytest.raises(ValueError, match=f"task.{name}={value} is not a share"):
        Regularisation(**{name: value})


def test_prefix_tokens_of_several_tokenizers_are_refused():
    with pytest.raises(ValueError, match="num_prefix_tokens=0"):
        Regularisation(token_dropout=0.1, num_prefix_tokens=[1, 0])
    assert Regularisation(mixup=0.1, num_prefix_tokens=[1, 0]).active


def test_parts_in_any_order_are_not_mixed(text_model, randomise):
    task = text_task(text_model, randomise, mixup=0.2)
    with pytest.raises(ValueError, match=r"task.mixup=0"):
        task(collate(text_examples(task)) | {"parts": torch.zeros(8, 1, dtype=torch.long)})


def test_packed_segments_are_refused():
    tokens = sequence()
    packed = TokenSequence(tokens.embeds, tokens.mask, tokens.positions, tokens.mask.long())
    with pytest.raises(ValueError, match="segments"):
        Regularisation(token_dropout=0.2).tokens(packed, SEEDS)


def test_by_default_nothing_is_changed_or_drawn(text_model, randomise):
    task = text_task(text_model, randomise)
    batch, state = collate(text_examples(task)), torch.get_rng_state()
    output = task(batch)
    assert not task.regularisation.active
    assert torch.equal(output.logits, task.outputs(batch))
    assert torch.equal(torch.get_rng_state(), state)
    assert not any("regularisation" in name for name in task.state_dict())


def test_nothing_is_changed_in_evaluation(text_model, randomise):
    plain, task = text_task(text_model, randomise), text_task(text_model, randomise, **ALL)
    batch = collate(text_examples(task))
    assert not torch.equal(plain(batch).logits, task(batch).logits)
    assert torch.equal(plain.eval()(batch).logits, task.eval()(batch).logits)
    assert torch.equal(plain(batch).loss, task(batch).loss)
    assert torch.equal(plain.train().outputs(batch), task.train().outputs(batch))


def test_global_random_numbers_are_not_used(text_model, randomise):
    task = text_task(text_model, randomise, **ALL)
    batch, state = collate(text_examples(task)), torch.get_rng_state()
    first = task(batch)
    torch.manual_seed(99)
    assert torch.equal(task(batch).loss, first.loss)
    torch.set_rng_state(state)
    later = task(collate(text_examples(task, epoch=1)))
    assert not torch.equal(later.loss, first.loss)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])
def test_token_dropout_leaves_out_an_exact_share_and_keeps_first_and_last(ratio):
    tokens, _ = Regularisation(token_dropout=ratio, num_prefix_tokens=[2]).tokens(sequence(), SEEDS)
    left = 36 - int(33 * round(1000 * ratio) // 1000)  # two prefix tokens and the last one stay
    assert tokens.embeds.shape == (64, left, 4) and tokens.mask.all() and not tokens.padded
    places = (tokens.positions * torch.tensor([0, 6, 1])).sum(-1)
    assert (places.diff(dim=1) > 0).all()  # in their order
    assert (places[:, :2] == torch.tensor([0, 1])).all() and (places[:, -1] == 35).all()
    assert len({tuple(row) for row in places.tolist()}) > 32


def test_token_dropout_keeps_the_only_token_and_never_makes_padding_real():
    lengths = [1, 2, 3, 36, 20]
    tokens, _ = Regularisation(token_dropout=0.9).tokens(sequence(5, lengths=lengths), SEEDS[:5])
    assert tokens.mask.sum(1).tolist() == [n - max(n - 2, 0) * 9 // 10 for n in lengths]
    assert (tokens.embeds[tokens.mask] < 5).all()


def test_cls_is_kept(image_model):
    task = Classification(image_model(1), NAMES, FirstPooling(), token_dropout=0.75).train()
    batch = {
        "pixel_values": torch.randint(256, (3, 3, 8, 8), dtype=torch.uint8),
        "labels": torch.arange(3),
        "seed": SEEDS[:3],
    }
    read, _ = task.regularisation.tokens(task.model.embed(batch), batch["seed"])
    assert read.embeds.shape[1] == 1 + 4 - 2  # the last patch is kept too
    assert torch.equal(read.embeds[:, 0], task.model.embed(batch).embeds[:, 0])


def test_a_sample_loses_the_same_tokens_in_any_batch(text_model, randomise):
    task = text_task(text_model, randomise, token_dropout=0.4, head_dropout=0.3)
    examples = text_examples(task)
    together = task(collate(examples)).logits
    alone = torch.cat([task(collate([example])).logits for example in examples])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_packed_rows_give_the_same_loss_with_everything_on(text_model, randomise):
    task = text_task(text_model, randomise, **ALL)
    examples = text_examples(task)
    packed = PackingCollate(task.preprocess)(examples)
    assert "rows" in packed
    torch.testing.assert_close(task(packed).loss, task(collate(examples)).loss, atol=1e-5, rtol=1e-4)


def loader(task, size, workers=0, training=True):
    dataset = task.examples(Digits().split("val"), task.preprocess, training=training, seed=3)
    return ResumableDataLoader(dataset, ResumableBatchSampler(24, size, seed=3), workers)


def test_seeds_do_not_depend_on_batches_and_workers(image_model):
    task = Classification(image_model(), NAMES, MeanPooling())
    seeds = [
        torch.cat([b["seed"] for b in loader(task, size, workers)]) for size, workers in [(24, 0), (5, 2)]
    ]
    assert torch.equal(*seeds) and len(set(seeds[0].tolist())) == 24
    assert "seed" not in next(iter(loader(task, 8, training=False)))


def test_mixup_blends_tokens_and_its_share_is_that_of_the_label():
    tokens, share = Regularisation(mixup=0.8).tokens(sequence(), SEEDS)
    expected = share * torch.arange(64) + (1 - share) * partners(torch.arange(64))
    torch.testing.assert_close(tokens.embeds, expected[:, None, None].expand(-1, 36, 4))
    assert share.min() >= 0.5 and share.max() <= 1 and len(set(share.tolist())) > 60
    assert not tokens.padded


def test_the_share_follows_the_beta_distribution():
    _, share = Regularisation(mixup=0.5).tokens(sequence(4096, 1, 1), torch.arange(4096) * 104729)
    drawn = torch.distributions.Beta(0.5, 0.5).sample((100_000,))
    expected = torch.maximum(drawn, 1 - drawn)
    quantiles = torch.linspace(0.05, 0.95, 10)
    torch.testing.assert_close(share.quantile(quantiles), expected.quantile(quantiles), atol=0.02, rtol=0)


def test_mixup_of_different_lengths_keeps_the_lengths_and_ignores_what_padding_holds():
    lengths = [3, 36, 20]
    plain = sequence(3, lengths=lengths)
    tokens, share = Regularisation(mixup=0.8).tokens(plain, SEEDS[:3])
    assert torch.equal(tokens.mask, plain.mask) and torch.equal(tokens.positions, plain.positions)
    for row, other in enumerate([2, 0, 1]):
        theirs = torch.where(torch.arange(36) < lengths[other], (1 - share[row]) * other, 0)
        real = tokens.mask[row]
        torch.testing.assert_close(tokens.embeds[row, real, 0], (share[row] * row + theirs)[real])


def test_cutmix_takes_a_connected_block_and_its_share_is_what_is_left():
    plain = sequence()
    tokens, share = Regularisation(cutmix=1.0, num_prefix_tokens=[1]).tokens(plain, SEEDS)
    numbers, sizes = torch.arange(64)[:, None], set()
    other = tokens.embeds[..., 0] == partners(numbers)
    assert torch.equal(other, tokens.embeds[..., 0] != numbers)  # each token is one or the other, to the bit
    assert not other[:, 0].any()  # the prefix token
    torch.testing.assert_close(share, 1 - other.sum(1) / 35)
    for block in other.view(64, 6, 6):
        if not block.any():
            continue
        rows, columns = (axis.nonzero() for axis in (block.any(1), block.any(0)))
        height, width = (int(axis.max() - axis.min()) + 1 for axis in (rows, columns))
        sizes.add(int(block.sum()))
        assert block.sum() >= (height - 2) * (width - 2)  # full but for its rim
    assert len(sizes) > 8 and max(sizes) <= 18


def test_cutmix_replaces_a_stretch_of_a_sequence_and_never_with_padding():
    lengths = [30, 3, 36, 12]
    plain = sequence(4, 36, 1, lengths)
    tokens, share = Regularisation(cutmix=1.0).tokens(plain, SEEDS[:4])
    assert torch.equal(tokens.mask, plain.mask)
    numbers = torch.arange(4)[:, None]
    other = (tokens.embeds[..., 0] == partners(numbers)) & tokens.mask
    assert torch.equal(tokens.mask & ~other, tokens.mask & (tokens.embeds[..., 0] == numbers))
    for block, length, shorter, one in zip(other, lengths, [12, 3, 3, 12], share, strict=True):
        places = block.nonzero()[:, 0]
        assert len(places) <= shorter / 2 and (places.diff() == 1).all()
        assert one == pytest.approx(1 - len(places) / length)


def test_both_mix_half_of_the_samples_each():
    tokens, share = Regularisation(mixup=1.0, cutmix=1.0).tokens(sequence(), SEEDS)
    whole = (tokens.embeds == tokens.embeds.round()).all(-1).all(-1) & (share < 1)  # cut, not blended
    assert 20 <= whole.sum() <= 44


def test_head_dropout_keeps_the_mean_and_drops_other_channels_of_each_sample():
    vectors = torch.ones(64, 256)
    dropped = Regularisation(head_dropout=0.25).vectors(vectors, SEEDS)
    assert dropped.unique().tolist() == pytest.approx([0, 4 / 3])
    assert dropped.mean() == pytest.approx(1, abs=0.02)
    assert len({tuple(row) for row in dropped.tolist()}) == 64


def smoothed(label, num, smoothing):
    return (1 - smoothing) * F.one_hot(label, num).float() + smoothing / num


def test_the_loss_of_a_mixture_weighs_both_labels_by_their_classes():
    weights, logits = [0.5, 3.0, 1.0], torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    labels, share = torch.tensor([0, 1, 2, -100, 1]), torch.tensor([0.9, 0.6, 0.5, 0.7, 1.0])
    others = partners(labels)
    total, count = (
        SingleLabel(["a", "b", "c"], weights, 0.2).train().mixed_loss(logits, labels, others, share)
    )
    want_total, want_count = 0.0, 0.0
    for row in range(5):
        for label, part in ((labels[row], share[row]), (others[row], 1 - share[row])):
            if label == -100:
                continue
            weight = weights[label] * part
            want_total -= weight * (smoothed(label, 3, 0.2) * logits[row].log_softmax(0)).sum()
            want_count += weight
    torch.testing.assert_close(total, want_total)
    torch.testing.assert_close(count, want_count)


def test_the_loss_of_a_mixture_without_class_weights_is_that_of_the_blended_target():
    logits, labels = torch.randn(6, 4), torch.tensor([0, 3, 2, 1, 1, 0])
    share, others = torch.rand(6), partners(torch.tensor([0, 3, 2, 1, 1, 0]))
    total, count = SingleLabel(list("abcd"), None, 0.1).train().mixed_loss(logits, labels, others, share)
    blended = torch.stack(
        [
            share[i] * smoothed(labels[i], 4, 0.1) + (1 - share[i]) * smoothed(others[i], 4, 0.1)
            for i in range(6)
        ]
    )
    torch.testing.assert_close(total / count, F.cross_entropy(logits, blended))
    assert count == pytest.approx(6)


def test_a_mixture_of_several_labels_is_the_loss_of_the_blended_labels():
    logits, weights = torch.randn(4, 3), torch.tensor([0.5, 2.0, 1.0])
    labels = torch.tensor([[1.0, 0, 1], [0, 0, 1], [-100, -100, -100], [1, 1, 1]])
    others, share = labels[[1, 0, 2, 0]], torch.tensor([0.7, 0.6, 0.9, 0.5])
    total, count = MultiLabel(["a", "b", "c"], weights.tolist()).mixed_loss(logits, labels, others, share)
    blended = share[:, None] * labels + (1 - share)[:, None] * others
    rows = [0, 1, 3]
    expected = F.binary_cross_entropy_with_logits(logits[rows], blended[rows], pos_weight=weights)
    torch.testing.assert_close(total / count, expected)
    assert count == pytest.approx(3)


def test_a_mixture_of_numbers_has_the_mixture_of_both_as_its_target():
    objective = Numeric(["a", "b"], [40.0, 2.0], [12.0, 0.5], nn.HuberLoss(reduction="none"))
    labels = torch.tensor([[40.0, 1.0], [90.0, 3.0], [-100.0, -100.0]])
    others, share, logits = labels[[1, 0, 0]], torch.tensor([0.75, 0.5, 0.9]), torch.randn(3, 2)
    total, count = objective.mixed_loss(logits, labels, others, share)
    blended = share[:, None] * labels + (1 - share)[:, None] * others
    plain, rows = objective.loss(logits[:2], blended[:2])
    torch.testing.assert_close(total, plain)
    assert count == rows == 2


def test_the_loss_of_a_task_is_that_of_its_own_mixture(text_model, randomise):
    task = text_task(
        text_model, randomise, mixup=0.5, cutmix=1.0, class_weights=[0.2, 2.0, 1.0], label_smoothing=0.1
    )
    batch = collate(text_examples(task))
    output = task(batch)
    read, share = task.regularisation.tokens(task.model.embed(batch), batch["seed"])
    logits = task.head(MeanPooling()(task.model.backbone(read)))
    torch.testing.assert_close(output.logits, logits)
    parts = (batch["labels"], partners(batch["labels"]))
    total, count = task.objective.mixed_loss(logits, *parts, share)
    torch.testing.assert_close(output.loss, total / count)
    torch.testing.assert_close(output.count, count)


def test_a_batch_of_one_is_mixed_with_itself(text_model, randomise):
    plain, task = text_task(text_model, randomise), text_task(text_model, randomise, mixup=0.5, cutmix=0.5)
    for example in text_examples(task):
        torch.testing.assert_close(task(collate([example])).loss, plain(collate([example])).loss)


def test_regression_learns_from_mixtures(text_model):
    task = Regression(
        text_model({"max_len": 24}), ["n"], [3.0], [2.0], MeanPooling(), nn.MSELoss(reduction="none"), **ALL
    )
    rows = [{"text": text or "x", "label": torch.tensor([float(i)])} for i, text in enumerate(TEXTS)]
    dataset = task.examples(rows, task.preprocess, training=True)
    output = task.train()(collate([dataset[Draw(0, i)] for i in range(8)]))
    output.loss.backward()
    assert output.loss.isfinite() and output.count == 8
    assert all(p.grad is None or p.grad.isfinite().all() for p in task.parameters())

import math

import pytest
import torch
import torch.nn.functional as F

from unimodal.data.collate import collate
from unimodal.data.loader import ResumableDataLoader
from unimodal.data.sampling import Draw, ResumableBatchSampler
from unimodal.data.sources.base import Source
from unimodal.data.vocabulary import bpe_vocabulary
from unimodal.tasks.language_modeling import LanguageModeling

TEXTS = [
    "the cat “sat” on the mat",
    "caf\u00e9 \U0001f600 e\u0301",
    "",
    "and some more words to fill windows",
]
NUM_BYTES = sum(len(text.encode()) for text in TEXTS)


class Texts(Source):
    """What a vocabulary is trained on."""

    def split(self, name):
        return [{"text": text} for text in TEXTS]


@pytest.fixture
def make(text_model, randomise):
    """A language model whose head is not zero."""

    def _make(tokenizer=None, backbone=None, **options):
        options = {"sample_len": 8, **options}
        task = LanguageModeling(text_model(tokenizer, **backbone or {}), **options)
        if not options.get("tied"):
            randomise(task.head)
        return task

    return _make


def windows(task, training=False):
    preprocess = {"text": task.model.tokenizers["text"].preprocess}
    return task.examples(Texts().split("val"), preprocess, training=training)


def loader(task, batch_size, **ranks):
    dataset = windows(task)
    return ResumableDataLoader(
        dataset, ResumableBatchSampler(len(dataset), batch_size, shuffle=False, **ranks)
    )


@torch.no_grad()
def nats_by_hand(task):
    """Minus the log-probability of each token of the stream, window by window, position by position."""
    dataset, total, num = windows(task), 0.0, 0
    for window_idx in range(len(dataset)):
        ids = dataset[Draw(0, window_idx)]["input_ids"]
        for place in range(1, len(ids)):
            tokens = task.model({"input_ids": ids[None, :place]}, causal=True)
            total -= task.head(tokens.embeds[0, -1]).double().log_softmax(-1)[ids[place]].item()
            num += 1
    return total, num


@pytest.mark.parametrize("tied", [False, True])
def test_the_loss_is_the_cross_entropy_of_the_next_token(make, tied):
    task = make(tied=tied)
    ids = torch.randint(257, (3, 9), generator=torch.Generator().manual_seed(0))
    output = task({"input_ids": ids, "labels": ids})
    tokens = task.model({"input_ids": ids[:, :-1]}, causal=True)
    logits = tokens.embeds @ task.head.weight.T
    assert torch.allclose(output.logits, logits, atol=1e-5)
    assert torch.allclose(output.loss, F.cross_entropy(logits.transpose(1, 2), ids[:, 1:]), atol=1e-5)
    assert output.count == 24


def test_the_head_is_zero_at_first(text_model):
    ids = torch.arange(8)[None]
    loss = LanguageModeling(text_model(), sample_len=8)({"input_ids": ids, "labels": ids}).loss
    assert torch.isclose(loss, torch.tensor(257.0).log())


def test_no_token_sees_what_follows(make):
    task, ids = make(), torch.arange(9)[None]
    changed = ids.clone()
    changed[:, 5:] = 200
    first, second = (task({"input_ids": x, "labels": x}).logits for x in (ids, changed))
    assert torch.allclose(first[:, :5], second[:, :5], atol=1e-6)
    assert not torch.allclose(first[:, 5:], second[:, 5:], atol=1e-3)


def test_ignored_labels_do_not_count(make):
    task, ids = make(), torch.arange(9)[None]
    labels = ids.clone()
    labels[:, [2, 5]] = -100
    output = task({"input_ids": ids, "labels": labels})
    kept = [i for i in range(8) if i + 1 not in (2, 5)]
    assert torch.allclose(output.loss, F.cross_entropy(output.logits[0, kept], ids[0, 1:][kept]))
    assert output.count == 6


def test_a_batch_of_ignored_labels_has_no_loss(make):
    task, ids = make(), torch.arange(9)[None]
    output = task({"input_ids": ids, "labels": torch.full_like(ids, -100)})
    assert output.loss == 0
    output.loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in task.parameters())


def test_padding_does_not_change_the_loss(make):
    task = make()
    long, short = (windows(task)[Draw(0, i)] for i in (0, len(windows(task)) - 1))
    assert len(short["input_ids"]) < len(long["input_ids"])
    batch = collate([long, short])
    assert "attention_mask" in batch
    together, alone = task(batch), [task(collate([one])) for one in (long, short)]
    assert torch.equal(together.tokens.mask, batch["attention_mask"][:, :-1])
    assert together.count == sum(one.count for one in alone)
    total = sum(one.loss * one.count for one in alone)
    assert torch.allclose(together.loss * together.count, total, rtol=1e-5)
    batch["input_ids"][~batch["attention_mask"]] = 77
    assert torch.allclose(task(batch).loss, together.loss)


@pytest.mark.parametrize("tokenizer", [{}, {"max_len": 5}, {"vocabulary": bpe_vocabulary(Texts(), 270)}])
def test_bits_per_byte_are_nats_over_ln2_and_bytes(make, validate, tokenizer):
    task = make(tokenizer)
    nats, num_targets = nats_by_hand(task)
    expected = {
        "val/loss": nats / num_targets,
        "val/perplexity": math.exp(nats / num_targets),
        "val/bits_per_byte": nats / math.log(2) / NUM_BYTES,
        "val/num_samples": len(windows(task)),
    }
    assert validate(task, loader(task, 3)) == pytest.approx(expected, rel=1e-5)


def test_figures_do_not_depend_on_the_batch_size(make, validate):
    task = make()
    figures = [validate(task, loader(task, size)) for size in (1, 2, 7, 64)]
    for other in figures[1:]:
        assert other == pytest.approx(figures[0], rel=1e-6)


def test_fill_ups_of_four_processes_leave_the_figures_as_they_were(make, validate):
    task = make()
    assert len(windows(task)) % 4
    batches = [batch for rank in range(4) for batch in loader(task, 1, rank=rank, world_size=4)]
    assert validate(task, batches) == pytest.approx(validate(task, loader(task, 4)), rel=1e-6)


def test_a_second_validation_starts_anew(make, validate):
    task = make()
    assert validate(task, loader(task, 4)) == validate(task, loader(task, 4))


def test_a_uniform_model_needs_log2_of_the_vocabulary_a_token(text_model, validate):
    task = LanguageModeling(text_model(), sample_len=8)
    figures = validate(task, loader(task, 4))
    assert figures["val/perplexity"] == pytest.approx(257, rel=1e-5)
    num_targets = NUM_BYTES + len(TEXTS)  # bytes, and an end after each text
    assert figures["val/bits_per_byte"] == pytest.approx(math.log2(257) * num_targets / NUM_BYTES, rel=1e-5)


def test_windows_are_as_long_as_the_context_and_move_in_training_only(make):
    task = make({"max_len": 5})
    assert len(windows(task)[Draw(0, 0)]["input_ids"]) == 6
    assert not windows(task).shift
    assert windows(task, training=True).shift


def test_a_tied_head_is_the_embedding(make):
    task = make(tied=True)
    assert task.head.weight is task.model.tokenizers["text"].embedding.weight
    assert len(list(task.parameters())) == len(list(make().parameters())) - 1


@pytest.mark.parametrize("learned_positions", [False, True])
@pytest.mark.parametrize("num_registers", [0, 2])
def test_the_gradient_reaches_every_parameter(make, learned_positions, num_registers):
    task = make({"learned_positions": learned_positions}, {"num_registers": num_registers})
    task(next(iter(loader(task, 4)))).loss.backward()
    assert all(p.grad is not None and p.grad.any() for p in task.parameters())


def test_completions_continue_the_prompt(make):
    task = make(temperature=0)
    written = task.complete(["the cat", "the cat", "caf\u00e9"], 8)
    assert written[0] == written[1]
    assert [text[:4] for text in written] == ["the ", "the ", "caf\u00e9"]
    assert len(written[0]) > len("the cat")


def test_samples_repeat_and_differ_from_each_other(make):
    task = make(num_samples=3, temperature=1.0, top_p=None)
    samples = task.samples()
    assert len(set(samples)) == 3
    assert task.samples() == samples


def test_a_task_without_samples_writes_none(make):
    assert make(num_samples=0).samples() == []


def test_a_text_tokenizer_is_needed(image_model):
    with pytest.raises(ValueError, match="needs a text tokenizer; choose modality=text"):
        LanguageModeling(image_model())


def test_prefix_tokens_are_refused(make):
    with pytest.raises(ValueError, match=r"set tokenizer\.num_prefix_tokens=0"):
        make({"num_prefix_tokens": 1})


@pytest.mark.parametrize("setting", [{"temperature": -1}, {"top_k": 0}, {"top_p": 2}])
def test_a_bad_setting_fails_at_construction(make, setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        make(**setting)


def test_samples_longer_than_the_learned_positions_fail_at_construction(make):
    learned = {"learned_positions": True, "max_len": 12}
    task = make(learned, prompt="four", sample_len=8)
    assert len(task.samples()) == 2
    with pytest.raises(ValueError, match=r"tokenizer\.max_len=12; lower task\.sample_len"):
        make(learned, prompt="four", sample_len=9)
    with pytest.raises(ValueError, match=r"lower task\.sample_len"):
        task.complete(["x" * 20], 1)


def test_rotary_positions_have_no_such_end(make):
    assert len(make({"max_len": 4}, sample_len=20).samples()) == 2

import math

import pytest
import torch
import torch.nn.functional as F

from unimodal.backbone.transformer import Transformer
from unimodal.data.collate import collate
from unimodal.data.lengths import num_tokens
from unimodal.data.loader import ResumableDataLoader
from unimodal.data.sampling import Draw, ResumableBatchSampler
from unimodal.data.vocabulary import byte_vocabulary
from unimodal.model import Unimodal
from unimodal.tasks.captioning import Captioning
from unimodal.tasks.captions import CaptionPreprocess, without_text
from unimodal.tasks.decoding import Decoding
from unimodal.tasks.reader import Reader
from unimodal.tokenizers.audio import AudioFrameTokenizer
from unimodal.tokenizers.image import ImagePatchTokenizer
from unimodal.tokenizers.text import TextTokenizer
from unimodal.types import Waveform

EOS = 256
TEXTS = ["a cat", "on the mat sat", "", "caf\u00e9", "mmm mmm"]
PROMPTS = ["what?", "", None, "and where is it", ""]
BACKBONES = {
    "plain": {},
    "registers": {"num_registers": 3},
    "grouped heads": {"num_kv_heads": 2},
    "sliding window": {"layer_types": ["sliding", "full"], "window": 3, "num_registers": 2},
}
DECODINGS = [{}, {"num_beams": 3}, {"num_beams": 4, "length_penalty": 2.0}]


def audio_tokenizer():
    sizes = {"sample_rate": 800, "n_mels": 8, "window_length": 64, "hop_length": 32, "stack": 2}
    return AudioFrameTokenizer(32, max_seconds=5.0, mean=-6.0, std=4.0, **sizes)


@pytest.fixture
def make(randomise):
    """A captioner of random weights; `media` of image and audio."""

    def _make(media=("audio",), text=None, backbone=None, decoding=None, **options):
        torch.manual_seed(0)
        every = {"image": ImagePatchTokenizer(32, image_size=8, patch_size=4), "audio": audio_tokenizer()}
        written = TextTokenizer(32, **{"vocabulary": byte_vocabulary(None), "max_len": 32, **(text or {})})
        tokenizers = {**{name: every[name] for name in media}, "text": written}
        model = randomise(Unimodal(tokenizers, Transformer(32, 2, 4, **(backbone or {}))))
        task = Captioning(model, Decoding(**{"max_new_tokens": 8, **(decoding or {})}), **options).eval()
        if not options.get("tied"):
            randomise(task.head, seed=1)
        return task

    return _make


def samples(prompts=PROMPTS):
    generator = torch.Generator().manual_seed(0)
    for place, (text, prompt) in enumerate(zip(TEXTS, prompts, strict=True)):
        sound = torch.rand(300 + 170 * place, generator=generator) - 0.5  # of different lengths
        image = torch.randint(256, (3, 8, 8), generator=generator, dtype=torch.uint8)
        yield {"audio": Waveform(sound, 800), "image": image, "text": text, "prompt": prompt}


def dataset(task, rows=None):
    return task.examples(list(samples()) if rows is None else rows, task.preprocess, training=False)


def batch_of(task, indices=range(5), rows=None):
    return collate([dataset(task, rows)[Draw(0, index)] for index in indices])


def batches(task, batch_size, **ranks):
    data = dataset(task)
    return ResumableDataLoader(data, ResumableBatchSampler(len(data), batch_size, shuffle=False, **ranks))


@torch.no_grad()
def next_logits(task, batch, written):
    """Of one sample, all computed anew, without the cache."""
    ids = torch.tensor([[*batch["input_ids"][0, : batch["num_prompt_tokens"][0] + 1].tolist(), *written]])
    return task.outputs({**batch, "input_ids": ids})[0, -1]


@torch.no_grad()
def greedily(task, batch):
    written = []
    while len(written) < task.decoding.max_new_tokens:
        written.append(int(next_logits(task, batch, written).argmax()))
        if written[-1] == EOS:
            break
    return task.text.preprocess.decode(written)


def test_a_row_is_prompt_start_and_text_and_its_end_is_learned(make):
    row = make().preprocess["text"]({"prompt": "ab", "text": "cde"})
    a, b, c, d, e = make().text.preprocess.encode("abcde").ids
    assert row["input_ids"].tolist() == [a, b, EOS, c, d, e]
    assert row["labels"].tolist() == [-100, -100, c, d, e, EOS]
    assert row["num_prompt_tokens"] == 2


def test_a_text_that_just_fits_ends(make):
    preprocess = CaptionPreprocess(make(text={"max_len": 12}).text.preprocess)
    assert preprocess({"text": "y" * 11})["labels"][-1] == EOS
    assert EOS not in preprocess({"text": "y" * 12})["labels"]


def test_prompt_start_and_text_are_counted(make):
    preprocess = make(media=("image",)).preprocess
    row = preprocess["text"]({"prompt": "ab", "text": "cde"})
    assert num_tokens({"pixel_values": torch.zeros(3, 8, 8), **row}, {"text": preprocess["text"]}) == 6


@pytest.mark.parametrize("prompt", ["", "x" * 3, "x" * 50])
def test_a_row_is_cut_at_max_len_and_goes_on_there(make, prompt):
    preprocess = CaptionPreprocess(make(text={"max_len": 12}).text.preprocess)
    row = preprocess({"prompt": prompt, "text": "y" * 50})
    assert len(row["input_ids"]) == len(row["labels"]) == 12
    assert EOS not in row["labels"] and row["labels"][-1] >= 0
    asked = preprocess({"prompt": prompt})
    assert asked["num_prompt_tokens"] == row["num_prompt_tokens"] == min(len(prompt), 6)
    assert asked["input_ids"].tolist() == row["input_ids"][: len(asked["input_ids"])].tolist()


@pytest.mark.parametrize("missing", [{}, {"prompt": None}, {"prompt": ""}])
def test_a_sample_may_have_no_prompt(make, missing):
    row = make().preprocess["text"]({"text": "a", **missing})
    assert row["input_ids"][0] == EOS and row["num_prompt_tokens"] == 0


@pytest.mark.parametrize("media", [("audio",), ("image",), ("image", "audio")])
def test_the_loss_is_that_of_each_token_after_what_stands_before_it(make, media):
    task = make(media)
    total, num = 0.0, 0
    for index in range(5):
        batch = batch_of(task, [index])
        labels = [one for one in batch["labels"][0].tolist() if one >= 0]
        for place, one in enumerate(labels):
            total -= next_logits(task, batch, labels[:place]).log_softmax(-1)[one].item()
        num += len(labels)
    output = task(batch_of(task))
    assert output.count == num
    assert output.loss.item() == pytest.approx(total / num, rel=1e-5)


@pytest.mark.parametrize("learned_positions", [False, True])
@pytest.mark.parametrize("backbone", BACKBONES.values(), ids=BACKBONES)
def test_padding_of_media_and_text_changes_nothing(make, backbone, learned_positions):
    task = make(("image", "audio"), {"learned_positions": learned_positions}, backbone)
    together, logits = batch_of(task), []
    assert {"attention_mask", "input_values_mask"} <= together.keys()
    for index in range(5):
        alone = batch_of(task, [index])
        logits.append(task.outputs(alone)[0])
        theirs = task.outputs(together)[index, : len(logits[-1])]
        torch.testing.assert_close(theirs, logits[-1], atol=1e-5, rtol=1e-5)
    together["input_ids"][~together["attention_mask"]] = 77
    together["input_values"][~together["input_values_mask"]] = 3.0
    torch.testing.assert_close(task.outputs(together)[0, : len(logits[0])], logits[0], atol=1e-5, rtol=1e-5)


def test_media_and_prompt_see_each_other_and_none_of_them_the_text(make):
    task = make()
    batch = batch_of(task, [0])
    prompt, start = int(batch["num_prompt_tokens"]), batch["input_ids"].shape[1]
    before = task.encode(batch).embeds
    num_media = before.shape[1] - start
    other = {**batch, "input_ids": batch["input_ids"].clone()}
    other["input_ids"][0, prompt - 1] = 33  # the prompt's last token
    assert (task.encode(other).embeds != before).any(-1)[0, : num_media + prompt].all()
    other["input_ids"] = batch["input_ids"].clone()
    other["input_ids"][0, -1] = 33
    assert torch.allclose(task.encode(other).embeds[:, :-1], before[:, :-1], atol=1e-6)
    other = {**batch, "input_values": -batch["input_values"].flip(1)}
    assert (task.encode(other).embeds != before).any(-1).all()


@pytest.mark.parametrize("learned_positions", [False, True])
@pytest.mark.parametrize("backbone", BACKBONES.values(), ids=BACKBONES)
@torch.no_grad()
def test_cached_logits_equal_uncached_ones(make, backbone, learned_positions):
    task = make(("image", "audio"), {"learned_positions": learned_positions}, backbone)
    batch = batch_of(task)
    full, num_prompt = task.outputs(batch), batch["num_prompt_tokens"]
    reader = Reader(task.model, task.head, task._given(without_text(batch)), room=6)
    logits, rows = reader.logits, torch.arange(5)
    for step in range(6):
        there = num_prompt + step < batch["attention_mask"].sum(1)
        wanted = full[rows[there], (num_prompt + step)[there]]
        torch.testing.assert_close(logits[there], wanted, atol=1e-5, rtol=1e-5)
        following = (num_prompt + step + 1).clamp_max(full.shape[1] - 1)
        logits = reader.read(batch["input_ids"][rows, following]) if step < 5 else logits


@pytest.mark.parametrize("backbone", BACKBONES.values(), ids=BACKBONES)
def test_greedy_writing_equals_writing_without_a_cache(make, backbone):
    task = make(("image", "audio"), backbone=backbone)
    assert task.write(batch_of(task)) == [greedily(task, batch_of(task, [index])) for index in range(5)]


@pytest.mark.parametrize("decoding", DECODINGS, ids=str)
@pytest.mark.parametrize("media", [("audio",), ("image", "audio")])
def test_rows_of_a_batch_are_written_as_they_are_alone(make, media, decoding):
    task = make(media, decoding=decoding)
    together = task.write(batch_of(task))
    assert together == [text for index in range(5) for text in task.write(batch_of(task, [index]))]
    assert len(set(together)) > 1


@pytest.mark.parametrize("decoding", DECODINGS, ids=str)
def test_what_is_to_be_written_is_not_read(make, decoding):
    task, rows = make(decoding=decoding), list(samples())
    batch = batch_of(task, rows=[row | {"text": "something else"} for row in rows])
    assert task.write(batch) == task.write(batch_of(task))
    asked = task.asked
    examples = [asked["audio"](row) | asked["prompt"]({"prompt": row["prompt"]}) for row in rows]
    assert [row["text"] for row in task.answer(collate(examples))] == task.write(batch)


def test_one_beam_is_greedy_and_sampling_repeats_with_its_seed(make):
    greedy, batch = make().write(batch_of(make())), batch_of(make())
    assert make(decoding={"temperature": 1.0, "top_k": 1}).write(batch) == greedy
    sampled = make(decoding={"temperature": 1.0})
    assert sampled.write(batch) == sampled.write(batch) != greedy
    assert make(decoding={"temperature": 1.0, "seed": 1}).write(batch) != sampled.write(batch)


def test_beams_find_texts_at_least_as_likely(make):
    greedy = make(decoding={"max_new_tokens": 4})
    beams = make(decoding={"max_new_tokens": 4, "num_beams": 8, "length_penalty": 0.0})
    ids = [task.decoding(task_reader(task), EOS) for task in (greedy, beams)]
    likelihood = [total(task, one) for task, one in zip((greedy, beams), ids, strict=True)]
    assert (likelihood[1] >= likelihood[0] - 1e-4).all() and (likelihood[1] > likelihood[0] + 1e-3).any()


def task_reader(task):
    asked = [task.asked["audio"](row) | task.asked["prompt"]({"prompt": row["prompt"]}) for row in samples()]
    return Reader(task.model, task.head, task._given(collate(asked)), task.decoding.max_new_tokens)


@torch.no_grad()
def total(task, ids):
    """The log-probability of each row of ids, up to its end."""
    reader, nats, ended = task_reader(task), torch.zeros(len(ids)), torch.zeros(len(ids), dtype=torch.bool)
    for place in range(ids.shape[1]):
        one = reader.logits.log_softmax(-1).gather(1, ids[:, place, None])[:, 0]
        nats, ended = nats + one * ~ended, ended | (ids[:, place] == EOS)
        reader.read(ids[:, place])
    return nats


def test_labels_are_smoothed_in_training_only(make):
    task, batch = make(label_smoothing=0.2), batch_of(make())
    logits, labels = task(batch).logits.transpose(1, 2), batch["labels"]
    assert torch.allclose(task(batch).loss, F.cross_entropy(logits, labels))
    assert torch.allclose(task.train()(batch).loss, F.cross_entropy(logits, labels, label_smoothing=0.2))


def test_the_head_is_zero_at_first_unless_tied(make):
    model = make().model
    loss = Captioning(model)(batch_of(make())).loss
    assert torch.isclose(loss, torch.tensor(257.0).log())
    tied = make(tied=True)
    assert tied.head.weight is tied.text.embedding.weight


@pytest.mark.parametrize("learned_positions", [False, True])
def test_the_gradient_reaches_every_parameter(make, learned_positions):
    task = make(("image", "audio"), {"learned_positions": learned_positions}, {"num_registers": 2})
    task(batch_of(task)).loss.backward()
    assert all(p.grad is not None and p.grad.any() for p in task.parameters())


def test_uncounted_rows_move_neither_loss_nor_figures(make, validate):
    task, batch = make(), batch_of(make())
    batch["counted"] = torch.tensor([True, False, True, False, True])
    only = batch_of(task, [0, 2, 4])
    assert validate(task, [batch]) == pytest.approx(validate(task, [only]), rel=1e-5)
    nothing = {**batch, "counted": torch.zeros(5, dtype=torch.bool)}
    output = task(nothing)
    assert output.loss == 0 and output.count == 0
    assert validate(task, [batch, nothing]) == pytest.approx(validate(task, [only]), rel=1e-5)


@pytest.mark.parametrize("num_generated", [None, 1000, 3])
def test_figures_depend_neither_on_batches_nor_on_processes(make, validate, num_generated):
    task = make(num_generated=num_generated)
    wanted = validate(task, batches(task, 5))
    for size in (1, 2, 3):
        assert validate(task, batches(task, size)) == pytest.approx(wanted, rel=1e-5)
    assert validate(task, batches(task, 5)) == wanted
    if num_generated is None:
        parts = [batch for rank in range(3) for batch in batches(task, 2, rank=rank, world_size=3)]
        assert validate(task, parts) == pytest.approx(wanted, rel=1e-5)


def test_each_process_writes_its_share_of_the_first_samples(make, monkeypatch):
    task = make(num_generated=4)
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 3)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 1)
    batch = batch_of(task, [1, 4])  # of rank 1 of 3
    assert task._first(batch) == ([True, False], 0)
    assert task._first(batch) == ([], 2)


def test_the_figures_are_those_of_the_texts(make, validate):
    task = make()
    figures = validate(task, batches(task, 2))
    written = task.write(batch_of(task))
    assert figures["val/exact_match"] == sum(map(str.__eq__, written, TEXTS)) / 5
    assert figures["val/perplexity"] == pytest.approx(math.exp(figures["val/loss"]), rel=1e-5)
    names = ("loss", "perplexity", "exact_match", "wer", "cer", "bleu")
    numbers = ("num_samples", "num_compared", "num_cut")
    assert figures.keys() == {f"val/{name}" for name in (*names, *numbers)}
    assert task.samples()[:2] == [f"what? a cat -> {written[0]}", f"on the mat sat -> {written[1]}"]
    assert task.samples() == []


@pytest.mark.parametrize(("num_generated", "compared"), [(None, 5), (3, 3), (1000, 5)])
def test_figures_say_how_many_texts_were_compared_and_cut(make, validate, num_generated, compared):
    task = make(num_generated=num_generated, text={"max_len": 12})
    figures = validate(task, batches(task, 2))
    assert figures["val/num_compared"] == compared
    assert figures["val/num_cut"] == 1  # "on the mat sat" has 14 bytes; no other text is cut
    assert validate(task, batches(task, 2)) == figures


def test_no_generated_samples_leave_the_loss_alone(make, validate):
    figures = validate(make(num_generated=0), batches(make(), 2))
    assert figures.keys() == {"val/loss", "val/perplexity", "val/num_samples"}


def test_what_does_not_fit_is_named(make, text_model, image_model):
    with pytest.raises(ValueError, match=r"beside\.text=text_character"):
        Captioning(image_model())
    with pytest.raises(ValueError, match="reads media"):
        Captioning(text_model())
    with pytest.raises(ValueError, match="num_prefix_tokens=0"):
        make(text={"num_prefix_tokens": 1})
    with pytest.raises(ValueError, match=r"max_new_tokens=8 .*max_len=14; lower it to 7"):
        make(text={"learned_positions": True, "max_len": 14})
    with pytest.raises(ValueError, match=r"allow_missing=false"):
        make()({"parts": torch.zeros(1, 1), **batch_of(make())})


@pytest.mark.parametrize("knob", ["num_beams", "max_new_tokens", "top_k", "top_p"])
def test_a_bad_decoding_fails_at_construction(knob):
    with pytest.raises(ValueError, match=f"{knob}=0"):
        Decoding(**{knob: 0})


def test_searching_and_sampling_exclude_each_other():
    with pytest.raises(ValueError, match=r"num_beams=1 or temperature=0"):
        Decoding(num_beams=2, temperature=0.5)

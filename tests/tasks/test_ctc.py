import pickle

import pytest
import torch
import torch.nn.functional as F

from unimodal.backbone.transformer import Transformer
from unimodal.data.augment import AudioAugment
from unimodal.data.collate import collate
from unimodal.data.sampling import Draw
from unimodal.data.sources.base import GeneratedRows, Source
from unimodal.data.vocabulary import bpe_vocabulary, byte_vocabulary, letter_vocabulary
from unimodal.model import Unimodal
from unimodal.tasks.ctc import CTC
from unimodal.tokenizers.audio import AudioFrameTokenizer, AudioPatchTokenizer
from unimodal.types import Waveform

TEXTS = ["ab", "b aab", "a", "", "bb"]
SECONDS = [0.4, 0.7, 0.2, 0.3, 0.5]
EVERY = range(5)


class Beeps(Source):
    """Noise of different lengths that is said to say something."""

    class_names = ()

    def split(self, name):
        return GeneratedRows(self.row, len(TEXTS))

    def row(self, index):
        rng = torch.Generator().manual_seed(index)
        samples = 0.3 * torch.randn(round(8000 * SECONDS[index]), generator=rng)
        return {"audio": Waveform(samples.clamp(-1, 1), 8000), "text": TEXTS[index]}


@pytest.fixture
def make(randomise):
    """A small model whose blocks and head all do something."""

    def _make(num_prefix_tokens=0, vocabulary=None, max_seconds=2.0, **options):
        torch.manual_seed(0)
        audio = AudioFrameTokenizer(
            32, 8000, 16, 200, 80, max_seconds=max_seconds, num_prefix_tokens=num_prefix_tokens
        )
        model = randomise(Unimodal({"audio": audio}, Transformer(32, 2, 4)))
        task = CTC(model, vocabulary or letter_vocabulary(Beeps()), **options)
        randomise(task.head)
        return task

    return _make


def examples(task, indices=EVERY, augment=None, counted=True, training=False):
    dataset = task.examples(Beeps().split("train"), task.preprocess, training, augment)
    return [dataset[Draw(0, index, counted)] for index in indices]


def batch_of(task, indices=EVERY, **options):
    return collate(examples(task, indices, **options))


def test_the_loss_is_torchs_per_label(make):
    task, total, count = make(), 0.0, 0
    output = task(batch_of(task))
    for index, text in enumerate(TEXTS):
        alone = task(batch_of(task, [index]))
        labels = torch.tensor([task.transcript.fast.encode(text).ids], dtype=torch.long).view(1, -1)
        log_probs, num_frames = alone.logits.log_softmax(-1).transpose(0, 1), alone.logits.shape[1]
        lengths = (torch.tensor([num_frames]), torch.tensor([len(text)]))
        total += F.ctc_loss(log_probs, labels, *lengths, task.transcript.blank, reduction="sum")
        count += max(len(text), 1)
    assert output.count == count
    assert torch.allclose(output.loss, total / count, rtol=1e-5)


@pytest.mark.parametrize("frames_per_token", [1, 3])
@pytest.mark.parametrize("num_prefix_tokens", [0, 2])
def test_each_token_has_its_frames_and_the_prefix_none(make, frames_per_token, num_prefix_tokens):
    task = make(num_prefix_tokens, frames_per_token=frames_per_token, skip_short=True)
    output = task(batch_of(task, [1]))
    own = output.tokens.mask.shape[1] - num_prefix_tokens
    assert output.logits.shape == (1, own * frames_per_token, task.transcript.num_labels)
    first = task.head(output.tokens.embeds[0, num_prefix_tokens]).view(frames_per_token, -1)
    assert torch.allclose(output.logits[0, :frames_per_token], first, atol=1e-5)


def test_padding_changes_nothing(make):
    task = make(1)
    together, alone = task(batch_of(task)), [task(batch_of(task, [i])) for i in EVERY]
    total = sum(one.loss * one.count for one in alone)
    assert torch.allclose(together.loss * together.count, total, rtol=1e-4)
    answers = [row for i in EVERY for row in task.answer(batch_of(task, [i]))]
    for row, other in zip(task.answer(batch_of(task)), answers, strict=True):
        assert row["text"] == other["text"]
        assert row["confidence"] == pytest.approx(other["confidence"], abs=2e-4)


def test_rows_that_do_not_count_move_neither_loss_nor_figures(make, validate):
    task = make()
    batch = batch_of(task, [0, 1, 4])
    mixed = collate(examples(task, [0, 1, 4]) + examples(task, [2, 3], counted=False))
    assert torch.allclose(task(mixed).loss, task(batch).loss, rtol=1e-5)
    assert task(mixed).count == task(batch).count
    assert validate(task, [mixed]) == pytest.approx(validate(task, [batch]), rel=1e-5)


def test_a_batch_that_does_not_count_has_no_loss(make):
    task = make()
    output = task(batch_of(task, [0, 3], counted=False))
    output.loss.backward()
    assert output.loss == output.count == 0
    assert not task.head.weight.grad.any()


def test_silence_with_an_empty_text_is_learned_from(make):
    task = make()
    output = task(batch_of(task, [3]))
    output.loss.backward()
    assert output.count == 1
    assert task.head.weight.grad.any()


def test_a_text_without_room_names_the_knobs(make):
    task = make(frames_per_token=1)
    batch = batch_of(task, [2])
    batch["labels"] = torch.tensor([[0, 0, 0, 0, 0]])
    with pytest.raises(ValueError, match=r"needs 9 frames, its input gives 6; .* task\.frames_per_token=1"):
        task(batch)
    assert make(frames_per_token=2)(batch).count == 5


def test_a_text_without_room_can_be_left_out_and_is_counted(make, validate):
    task = make(frames_per_token=1, skip_short=True)
    batch = batch_of(task, [0, 2])
    batch["labels"] = torch.tensor([[0, 1, -100, -100, -100], [0, 0, 0, 0, 0]])
    alone = {**batch, "labels": batch["labels"].index_fill(0, torch.tensor([1]), -100)}
    assert torch.allclose(task(batch).loss, task(alone).loss)
    assert task(batch).count == 2
    figures = validate(task, [batch])
    assert figures["val/skipped"] == 1
    assert figures["val/cer"] > validate(task, [alone])["val/cer"] / 10  # the text counts, wrong as it is


def test_a_sound_that_would_be_cut_is_refused(make):
    with pytest.raises(ValueError, match=r"'b aab' reaches tokenizer\.max_seconds=0\.6"):
        batch_of(make(max_seconds=0.6))


def test_figures_are_edit_distances_over_all_texts(make, validate):
    task = make()
    figures = validate(task, [batch_of(task, [0, 1]), batch_of(task, [2, 4])])
    wanted = ["ab", "b aab", "a", "bb"]
    found = [row["text"] for i in (0, 1, 2, 4) for row in task.answer(batch_of(task, [i]))]
    by_letter = sum(distance(a, b) for a, b in zip(wanted, found, strict=True))
    by_word = sum(distance(a.split(), b.split()) for a, b in zip(wanted, found, strict=True))
    names = ("loss", "wer", "cer", "exact_match", "bleu", "num_samples")
    assert figures.keys() == {f"val/{name}" for name in names}
    assert figures["val/cer"] == pytest.approx(by_letter / 10)
    assert figures["val/wer"] == pytest.approx(by_word / 5)


def distance(a, b):
    """Fewest insertions, deletions and substitutions from one to the other."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def test_samples_show_text_and_guess(make, validate):
    task = make()
    validate(task, [collate(examples(task, [2], counted=False) + examples(task, [0, 4]))])
    lines = task.samples()
    assert [line.split(" -> ")[0] for line in lines] == ["ab", "bb"]
    assert task.samples() == []


@pytest.mark.parametrize("beam_size", [1, 4])
def test_the_confidence_is_the_probability_of_the_text(make, beam_size):
    task = make(beam_size=beam_size)
    batch = batch_of(task, [1])
    [row] = task.answer(batch)
    ids = [task.transcript.fast.token_to_id(letter) for letter in row["text"]] or [task.transcript.blank]
    output = task({**batch, "labels": torch.tensor([ids])})
    assert row["confidence"] == pytest.approx((-output.loss * output.count).exp().item(), abs=1e-4)


def test_predicting_asks_for_no_text(make):
    assert list(make().asks) == ["audio"]
    assert list(make().preprocess) == ["audio", "text"]


@pytest.mark.parametrize("vocabulary", [byte_vocabulary, lambda source: bpe_vocabulary(source, 257)])
def test_texts_of_any_vocabulary_come_back(make, vocabulary):
    transcript = make(vocabulary=vocabulary(Beeps())).transcript
    assert transcript.decode(transcript({"text": "grün ab"}).tolist()) == "grün ab"
    assert transcript({"text": ""}).tolist() == [transcript.blank]
    assert pickle.loads(pickle.dumps(transcript)) == transcript


def test_speed_and_masks_of_training_sounds_apply(make):
    task, augment = make(), AudioAugment(speed=0.3, time_mask=5, freq_mask=4)
    plain, [changed] = batch_of(task, [1]), examples(task, [1], augment=augment, training=True)
    assert len(changed["input_values"]) != plain["input_values"].shape[1]
    assert not changed["spectrogram_mask"].all()
    assert torch.equal(changed["labels"], plain["labels"][0])


def test_the_head_is_zero_at_first(make):
    task = CTC(make().model, letter_vocabulary(Beeps()))
    assert not task(batch_of(task)).logits.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"beam_size": 0}, r"task\.beam_size=0"), ({"frames_per_token": 0}, r"task\.frames_per_token=0")],
)
def test_a_knob_that_is_too_small_is_named(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_patches_are_refused(make):
    model = Unimodal({"audio": AudioPatchTokenizer(32, 8000, 32)}, Transformer(32, 1, 4))
    task = CTC(model, letter_vocabulary(Beeps()))
    with pytest.raises(ValueError, match="in time, not patches; take tokenizer=audio_frame"):
        task(batch_of(task, [0]))


def test_a_model_that_reads_text_is_refused(text_model):
    with pytest.raises(ValueError, match=r"this model reads text\. Take modality=audio"):
        CTC(text_model(), letter_vocabulary(Beeps()))


@pytest.mark.slow
def test_it_learns_tones_in_a_row():
    torch.manual_seed(0)
    audio = AudioFrameTokenizer(32, 8000, 16, 200, 80)
    model = Unimodal({"audio": audio}, Transformer(32, 2, 4))
    task = CTC(model, letter_vocabulary(Tones()), frames_per_token=1)
    optimizer = torch.optim.AdamW(task.parameters(), 1e-2, betas=(0.9, 0.98))
    dataset = task.examples(Tones().split("train"), task.preprocess, True)
    for step in range(60):
        batch = collate([dataset[Draw(0, 16 * step + i)] for i in range(16)])
        optimizer.zero_grad()
        task(batch).loss.backward()
        optimizer.step()
    held_out = collate([dataset[Draw(0, 960 + i)] for i in range(40)])
    found = [row["text"] for row in task.eval().answer(held_out)]
    wanted = [dataset.samples[960 + i]["text"] for i in range(40)]
    assert sum(a == b for a, b in zip(found, wanted, strict=True)) >= 38


class Tones(Source):
    """Up to four tones of 200 ms in a row, each of three pitches."""

    class_names = ()

    def split(self, name):
        return GeneratedRows(self.row, 1000)

    def row(self, index):
        rng = torch.Generator().manual_seed(index)
        pitches = torch.randint(3, (int(torch.randint(1, 5, (), generator=rng)),), generator=rng)
        time = torch.arange(1600) / 8000
        tones = [torch.sin(2 * torch.pi * 300 * 2**pitch * time) * (time < 0.15) for pitch in pitches]
        return {"audio": Waveform(0.5 * torch.cat(tones), 8000), "text": "".join("abc"[p] for p in pitches)}

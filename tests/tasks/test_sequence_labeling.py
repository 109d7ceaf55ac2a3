import pytest
import torch
import torch.nn.functional as F

from unimodal.backbone.transformer import Transformer
from unimodal.data.collate import collate
from unimodal.data.prepared import PreparedSamples
from unimodal.data.sampling import Draw
from unimodal.data.sources.keypad_sequences import KeypadSequences
from unimodal.model import Unimodal
from unimodal.tasks.sequence_labeling import SequenceLabeling
from unimodal.tokenizers.audio import AudioFrameTokenizer, AudioPatchTokenizer
from unimodal.tokenizers.audio_whisper import AudioWhisperTokenizer
from unimodal.types import IGNORED, Waveform

TAGS = ["O", "B-X", "I-X"]
KEYS = ["O", "a", "b"]
TEXTS = [
    {"text": "one two three", "spans": [(0, 3, "O"), (4, 7, "B-X"), (8, 13, "I-X")]},
    {"text": "a b", "spans": [(0, 1, "B-X"), (2, 3, "O")]},
    {"text": "four", "spans": [(0, 4, "O")]},
]


@pytest.fixture
def tagger(text_model, randomise):
    """Bytes to tags; the head is not zero."""

    def _tagger(names=TAGS, **options):
        torch.manual_seed(0)
        task = SequenceLabeling(text_model(**options), names)
        randomise(task.head)
        return task.eval()

    return _tagger


@pytest.fixture
def listener(randomise):
    """Frames of 20 ms at 1 kHz to labels."""

    def _listener(tokenizer=None, names=KEYS):
        torch.manual_seed(0)
        sizes = {"sample_rate": 1000, "n_mels": 8, "window_length": 20, "hop_length": 10, "stack": 2}
        audio = tokenizer or AudioFrameTokenizer(32, **sizes)
        task = SequenceLabeling(randomise(Unimodal({"audio": audio}, Transformer(32, 2, 4))), names)
        randomise(task.head)
        return task.eval()

    return _listener


def sounds(*seconds, rate=1000):
    rng = torch.Generator().manual_seed(0)
    return [
        {
            "audio": Waveform(0.1 * torch.randn(round(one * rate), generator=rng), rate),
            "spans": [(0.1, 0.2, "a")],
        }
        for one in seconds
    ]


def batch_of(task, samples):
    dataset = task.examples(PreparedSamples(samples, task.preprocess), task.preprocess, training=False)
    return collate([dataset[Draw(0, index)] for index in range(len(samples))])


def loss_by_hand(output, labels):
    counted = labels != IGNORED
    return F.cross_entropy(output.logits[counted], labels[counted])


@pytest.mark.parametrize("num_prefix_tokens", [0, 2])
def test_the_loss_is_the_mean_over_first_tokens_of_words(tagger, num_prefix_tokens):
    task = tagger(tokenizer={"num_prefix_tokens": num_prefix_tokens})
    batch = batch_of(task, TEXTS)
    output = task(batch)
    assert output.count == 6 and output.logits.shape == (3, 13, 3)
    assert torch.allclose(output.loss, loss_by_hand(output, batch["labels"]), atol=1e-6)


def test_a_sample_alone_gives_what_it_gives_beside_longer_ones(tagger, listener):
    for task, samples in ((tagger(), TEXTS), (listener(), sounds(0.5, 0.3, 0.21))):
        together = batch_of(task, samples)
        losses, counts = [], []
        for one in samples:
            output = task(batch_of(task, [one]))
            losses.append(output.loss * output.count)
            counts.append(output.count)
        output = task(together)
        assert output.count == sum(counts)
        assert torch.allclose(output.loss * output.count, sum(losses), rtol=1e-4)


def test_every_frame_of_a_sound_counts_and_none_of_the_padding(listener):
    task = listener()
    batch = batch_of(task, sounds(0.5, 0.3))
    tokens = task.encode(batch)
    assert task(batch).count == tokens.mask.sum() == 26 + 16


def test_whisper_fills_clips_up_and_what_is_filled_in_does_not_count(listener):
    whisper = AudioWhisperTokenizer(32, sample_rate=16_000, n_mels=8, num_positions=20)
    task = listener(whisper)
    batch = batch_of(task, sounds(0.2, 0.3, rate=16_000))
    output = task(batch)
    assert output.logits.shape[:2] == (2, 20) and output.count == 11 + 16


def test_figures_of_span_tags_are_of_whole_spans(tagger, validate):
    task = tagger()
    batch = batch_of(task, TEXTS)
    with torch.no_grad():
        task.head.weight.zero_()
        task.head.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))  # B-X everywhere: 6 spans said, 2 there, 1 right
    figures = validate(task, [batch])
    names = ("loss", "f1", "precision", "recall", "accuracy", "num_samples")
    assert figures.keys() == {f"val/{name}" for name in names}
    assert figures["val/precision"] == pytest.approx(1 / 6)
    assert figures["val/recall"] == pytest.approx(1 / 2)
    assert figures["val/f1"] == pytest.approx(2 / 8)
    assert figures["val/accuracy"] == pytest.approx(2 / 6)


def test_figures_of_plain_labels_are_of_tokens_without_o(listener, validate):
    task = listener()
    with torch.no_grad():
        task.head.weight.zero_()
        task.head.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))  # a everywhere: 5 of 26 tokens are
    figures = validate(task, [batch_of(task, sounds(0.5))])
    assert figures["val/accuracy"] == pytest.approx(5 / 26)
    assert figures["val/f1"] == pytest.approx(2 * 5 / (5 + 26))  # b is neither there nor said


def test_figures_do_not_depend_on_the_batches(tagger, listener, validate):
    for task, samples in ((tagger(), TEXTS), (listener(), sounds(0.5, 0.3, 0.4))):
        whole = validate(task, [batch_of(task, samples)])
        parts = validate(task, [batch_of(task, samples[:1]), batch_of(task, samples[1:])])
        assert parts == pytest.approx(whole, rel=1e-4)


def test_rows_that_do_not_count_change_no_figure(tagger, validate):
    task = tagger()
    batch = batch_of(task, TEXTS)
    less = batch_of(task, [*TEXTS[:2], TEXTS[2] | {"counted": False}])
    assert less["labels"][2].tolist() == [IGNORED] * 13
    batch["labels"][2] = IGNORED
    assert validate(task, [less]) == pytest.approx(validate(task, [batch]))


def test_a_text_is_answered_by_its_words_and_spans(tagger):
    task = tagger()
    batch = batch_of(task, TEXTS)
    del batch["labels"]
    said = task.outputs(batch).argmax(-1)
    for row, (answer, sample) in enumerate(zip(task.answer(batch), TEXTS, strict=True)):
        assert answer["words"] == sample["text"].split()
        assert answer["tags"] == [TAGS[said[row, start]] for start, _, _ in sample["spans"]]
        assert all(span["label"] == "X" and span["text"] in sample["text"] for span in answer["spans"])


def test_a_sound_is_answered_by_segments_within_it(listener):
    task = listener()
    batch = batch_of(task, sounds(0.5, 0.3))
    del batch["labels"]
    for answer, seconds in zip(task.answer(batch), (0.5, 0.3), strict=True):
        assert all(0 <= one["start"] < one["end"] <= seconds for one in answer["segments"])


def test_samples_show_labels_and_guesses(tagger, validate):
    task = tagger()
    with torch.no_grad():
        task.head.weight.zero_()
        task.head.bias.copy_(torch.tensor([1.0, 0.0, 0.0]))
    validate(task, [batch_of(task, TEXTS)])
    assert task.samples() == ["two three X -> no span", "a X -> no span", "no span -> no span"]
    assert task.samples() == []


def test_what_does_not_fit_says_what_to_change(image_model, listener, text_model):
    with pytest.raises(ValueError, match="modality=audio"):
        SequenceLabeling(image_model(), TAGS)
    with pytest.raises(ValueError, match="tokenizer=audio_frame"):
        listener(AudioPatchTokenizer(32, n_mels=16))
    with pytest.raises(ValueError, match="O, for no class, is missing"):
        listener(names=["a", "b"])
    with pytest.raises(ValueError, match="two classes"):
        SequenceLabeling(text_model(), ["O"])


def test_bf16_gives_a_finite_loss_and_gradients(tagger):
    task = tagger()
    with torch.autocast("cpu", torch.bfloat16):
        loss = task(batch_of(task, TEXTS)).loss
    loss.backward()
    assert loss.dtype == torch.float32 and task.head.weight.grad.isfinite().all()


def test_a_few_clips_are_learned_by_heart(randomise):
    torch.manual_seed(0)
    source = KeypadSequences(seconds=0.7, max_keys=2, train_size=4)
    audio = AudioFrameTokenizer(32, sample_rate=8000, n_mels=32, window_length=200, hop_length=80)
    task = SequenceLabeling(Unimodal({"audio": audio}, Transformer(32, 2, 4)), source.region_names)
    batch = batch_of(task, list(source.split("train")))
    optimizer = torch.optim.AdamW(task.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        task(batch).loss.backward()
        optimizer.step()
    assert (task(batch).logits.argmax(-1) == batch["labels"]).float().mean() > 0.98

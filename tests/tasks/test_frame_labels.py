import pytest
import torch

from unimodal.data.sources.keypad_sequences import KeypadSequences
from unimodal.tasks.frame_labels import FrameLabels
from unimodal.tokenizers.audio import AudioFrameTokenizer
from unimodal.tokenizers.audio_whisper import AudioWhisperTokenizer
from unimodal.types import Waveform

LABELS = FrameLabels(("O", "a", "b"), first=0.05, step=0.1, sample_rate=100)


def sound(seconds, *spans, rate=100):
    return {"audio": Waveform(torch.zeros(round(seconds * rate)), rate), "spans": list(spans)}


def test_a_token_is_labelled_by_its_middle():
    labels = LABELS(sound(0.6, (0.1, 0.3, "a"), (0.34, 0.36, "b"), (0.36, 0.44, "a")))
    assert labels[:6].tolist() == [0, 1, 1, 2, 0, 0]


def test_the_last_of_several_stretches_lies_on_top():
    assert LABELS(sound(0.3, (0.0, 0.3, "a"), (0.1, 0.2, "b")))[:3].tolist() == [1, 2, 1]


def test_runs_are_told_as_segments_within_the_clip():
    told = LABELS.tell(torch.zeros(46), ["a", "a", "O", "b", "a", "a"])
    assert told == {
        "segments": [
            {"label": "a", "start": 0, "end": 0.2},
            {"label": "b", "start": 0.3, "end": 0.4},
            {"label": "a", "start": 0.4, "end": 0.46},
        ]
    }
    assert LABELS.show(torch.zeros(46), ["O", "a", "O", "O", "O"]) == "a 0.10-0.20"
    assert LABELS.show(torch.zeros(46), ["O"] * 5) == "nothing"


@pytest.mark.parametrize(
    "tokenizer",
    [
        AudioFrameTokenizer(32, sample_rate=8000, hop_length=80, window_length=200, stack=3),
        AudioFrameTokenizer(32),
    ],
)
@pytest.mark.parametrize("num_samples", [1, 79, 80, 239, 240, 241, 4001, 8000])
def test_there_is_a_label_for_each_token(tokenizer, num_samples):
    rate = tokenizer.preprocess.sample_rate
    labels = FrameLabels(("O", "a"), *tokenizer.token_times, rate)
    tokens = tokenizer({"input_values": torch.zeros(1, num_samples)})
    assert (
        len(labels({"audio": Waveform(torch.zeros(num_samples), rate), "spans": []})) == tokens.mask.shape[1]
    )


@pytest.mark.parametrize(
    ("kind", "options"),
    [(AudioFrameTokenizer, {"hop_length": 160, "stack": 4}), (AudioWhisperTokenizer, {"num_positions": 50})],
)
def test_token_times_are_where_a_click_is_heard(kind, options):
    torch.manual_seed(0)
    tokenizer = kind(32, **options)
    first, step = tokenizer.token_times
    silence, click = torch.zeros(1, 16_000), torch.zeros(1, 16_000)
    click[0, round((first + 10 * step) * 16_000)] = 1.0
    with torch.no_grad():
        changed = (tokenizer({"input_values": click}).embeds - tokenizer({"input_values": silence}).embeds)[
            0
        ].norm(dim=1)
    heard = (changed - changed.median()).clamp_min(0)  # Whisper's mel is of the loudest moment everywhere
    heard = heard * (heard > 0.1 * heard.max())
    middle = (torch.arange(len(heard)) * heard).sum() / heard.sum()
    assert abs(middle - 10) <= 0.5


def test_the_keys_of_a_clip_are_found_again():
    labels = FrameLabels(tuple(KeypadSequences().region_names), 0.015, 0.04, 8000)
    for sample in KeypadSequences(val_size=20).split("val"):
        names = [labels.class_names[index] for index in labels(sample).tolist()]
        segments = labels.tell(sample["audio"].samples, names)["segments"]
        for found, (start, end, key) in zip(segments, sample["spans"], strict=True):
            assert found["label"] == key
            assert abs(found["start"] - start) < 0.04 and abs(found["end"] - end) < 0.04

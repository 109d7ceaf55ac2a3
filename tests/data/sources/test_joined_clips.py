import pickle

import numpy as np
import pytest
import soundfile
import torch

from unimodal.data.collate import collate
from unimodal.data.sources.digits import Digits
from unimodal.data.sources.folder import FolderSource
from unimodal.data.sources.joined_clips import JoinedClips
from unimodal.data.sources.keypad_tones import KeypadTones
from unimodal.data.sources.reference_text import ReferenceText

LEVELS = {"one": 0.25, "two": 0.5, "three": 0.75}


@pytest.fixture
def clips(tmp_path):
    """Constant sounds of 50 ms: how loud says which word, and in test another sign."""
    for split, sign in (("train", 1), ("test", -1)):
        for word, level in LEVELS.items():
            (tmp_path / split / word).mkdir(parents=True)
            for i in range(4):
                samples = np.full(400, sign * (level + 0.01 * i), np.float32)
                soundfile.write(tmp_path / split / word / f"{i}.wav", samples, 8000)
    return FolderSource(str(tmp_path))


def said(sample):
    """The words that a sample's levels are."""
    samples = sample["audio"].samples
    starts = torch.cat((samples[:1] != 0, (samples[1:] != 0) & (samples[:-1] == 0))).nonzero()[:, 0]
    names = {round(level / 0.25): word for word, level in LEVELS.items()}
    return " ".join(names[int(samples[start + 200].abs() / 0.25 + 0.05)] for start in starts)


def test_the_text_is_what_is_heard(clips):
    rows = JoinedClips(clips, pause=(0.01, 0.02), train_size=40).split("train")
    assert [said(row) for row in rows] == [row["text"] for row in rows]
    assert {len(row["text"].split()) for row in rows} == set(range(1, 7))


def test_a_split_is_made_of_its_own_clips(clips):
    source = JoinedClips(clips, train_size=20, eval_size=5)
    assert source.split_names == ("train", "val", "test")
    assert all(row["audio"].samples.min() >= 0 for row in source.split("train"))
    assert all(row["audio"].samples.max() <= 0 for row in source.split("test"))
    assert [len(source.split(name)) for name in source.split_names] == [20, 5, 5]
    with pytest.raises(ValueError, match="no split 'dev'"):
        source.split("dev")


def test_a_sample_is_a_function_of_seed_split_and_index(clips):
    first, again, other = (JoinedClips(clips, seed=seed).split("train")[7] for seed in (0, 0, 1))
    assert first["text"] == again["text"] != other["text"]
    assert torch.equal(first["audio"].samples, again["audio"].samples)
    rows = pickle.loads(pickle.dumps(JoinedClips(clips).split("train")))
    assert torch.equal(rows[7]["audio"].samples, first["audio"].samples)


def test_clips_follow_at_once_without_pause(clips):
    [row] = JoinedClips(clips, num_words=(3, 3), pause=(0, 0), train_size=1).split("train")
    assert len(row["audio"].samples) == 3 * 400


def test_clips_of_another_rate_are_brought_to_the_first(clips, tmp_path):
    soundfile.write(tmp_path / "train" / "one" / "0.wav", np.full(1600, 0.25, np.float32), 32_000)
    source = JoinedClips(FolderSource(str(tmp_path)), num_words=(2, 2), pause=(0, 0), train_size=60)
    seconds = [len(row["audio"].samples) / row["audio"].sample_rate for row in source.split("train")]
    assert seconds == pytest.approx([0.1] * 60)
    assert {row["audio"].sample_rate for row in source.split("train")} == {8000, 32_000}


def test_any_source_of_sounds_with_classes_can_be_joined():
    row = JoinedClips(KeypadTones(train_size=32), num_words=(4, 4)).split("train")[0]
    assert len(row["text"].split()) == 4
    assert collate([{"input_values": row["audio"].samples}])["input_values"].shape[1] >= 4 * 3200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_words": (0, 3)}, r"data\.num_words=\[0, 3\]"),
        ({"pause": (0.3, 0.1)}, r"data\.pause=\[0\.3, 0\.1\]"),
        ({"eval_size": 0}, "eval_size=0"),
    ],
)
def test_a_knob_out_of_range_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        JoinedClips(KeypadTones(), **options)


def test_bad_clips_are_treated_as_the_clips_source_says(clips, tmp_path):
    skipping = FolderSource(str(tmp_path), on_bad_sample="skip")
    assert [JoinedClips(source).on_bad_sample for source in (clips, skipping)] == ["error", "skip"]
    clips.max_skipped = 0.5
    assert JoinedClips(clips).max_skipped == 0.5


def test_clips_without_classes_are_refused():
    with pytest.raises(ValueError, match="needs clips with one class each"):
        JoinedClips(ReferenceText())


def test_clips_without_sound_are_refused():
    with pytest.raises(ValueError, match="have no audio; they have image, label"):
        JoinedClips(Digits()).split("train")

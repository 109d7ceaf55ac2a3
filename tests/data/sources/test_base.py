import hashlib
import os
import pickle
import subprocess
import sys

import pytest

from unimodal.data.sources.base import GeneratedRows, generator, hash_split
from unimodal.data.sources.digits import Digits
from unimodal.data.sources.keypad_tones import KeypadTones
from unimodal.data.sources.moving_digits import MovingDigits
from unimodal.data.sources.reference_text import ReferencePassages, ReferenceText

SOURCES = [Digits, MovingDigits, KeypadTones, ReferenceText, ReferencePassages]


def as_bytes(sample):
    if "audio" in sample:
        return sample["audio"].samples.numpy().tobytes()
    if "text" in sample:
        return sample["text"].encode()
    return next(sample[key] for key in ("image", "video") if key in sample).numpy().tobytes()


def digest(source):
    """One hash of the first five samples of both splits."""
    parts = [as_bytes(source.split(name)[i]) for name in ("train", "val") for i in range(5)]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def test_a_split_does_not_move_when_rows_are_added():
    few = [hash_split(i, 0.2) for i in range(100)]
    assert [hash_split(i, 0.2) for i in range(1000)][:100] == few


def test_a_larger_val_fraction_only_adds_to_val():
    small, large = ({i for i in range(1000) if hash_split(i, f) == "val"} for f in (0.1, 0.3))
    assert small < large
    assert 60 < len(small) < 140
    assert 250 < len(large) < 350


def test_the_ends_of_val_fraction_are_all_and_nothing():
    assert {hash_split(i, 0.0) for i in range(50)} == {"train"}
    assert {hash_split(i, 1.0) for i in range(50)} == {"val"}


def test_a_val_fraction_above_one_names_the_knob():
    with pytest.raises(ValueError, match=r"val_fraction=1\.5"):
        hash_split(0, 1.5)


def test_the_generator_depends_on_every_part_of_its_key():
    draws = {
        key: generator(*key).integers(2**62) for key in [(0, "train", 1), (0, "val", 1), (1, "train", 1)]
    }
    assert len(set(draws.values())) == 3
    assert all(generator(*key).integers(2**62) == draw for key, draw in draws.items())


def test_generated_rows_index_as_a_list_does():
    rows = GeneratedRows(lambda i: {"label": i}, 4)
    assert [row["label"] for row in rows] == [0, 1, 2, 3]
    assert rows[-1] == {"label": 3}
    assert rows[1:3] == [{"label": 1}, {"label": 2}]
    with pytest.raises(IndexError):
        rows[4]


@pytest.mark.parametrize("make", SOURCES)
def test_an_unknown_split_names_the_splits_there_are(make):
    with pytest.raises(ValueError, match=r"no split 'test'; there are train, val"):
        make().split("test")


@pytest.mark.parametrize("make", SOURCES)
def test_order_of_access_does_not_change_a_sample(make):
    forward, backward = make().split("val"), make().split("val")
    expected = [as_bytes(forward[i]) for i in range(8)]
    assert [as_bytes(backward[i]) for i in reversed(range(8))] == expected[::-1]


@pytest.mark.parametrize("make", SOURCES)
def test_a_split_survives_the_way_into_a_worker(make):
    split = make().split("val")
    assert as_bytes(pickle.loads(pickle.dumps(split))[3]) == as_bytes(split[3])


@pytest.mark.parametrize("make", SOURCES)
def test_train_and_val_share_no_sample(make):
    train = {as_bytes(sample) for sample in make().split("train")[:300]}
    assert train.isdisjoint(as_bytes(sample) for sample in make().split("val"))


@pytest.mark.slow
def test_a_fresh_process_makes_the_same_bytes():
    lines = [f"from {make.__module__} import {make.__name__}" for make in SOURCES]
    lines += [f"import runpy; digest = runpy.run_path({__file__!r})['digest']"]
    lines += [f"print(digest({make.__name__}()))" for make in SOURCES]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7"}
    run = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], env=env, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == [digest(make()) for make in SOURCES]

import os
import pickle

import numpy as np
import pytest
import torch

from unimodal.data.decoded_cache import DecodedCache, open_cache
from unimodal.tokenizers.audio import AudioPreprocess
from unimodal.tokenizers.image import ImagePreprocess
from unimodal.tokenizers.text import TextPreprocess
from unimodal.types import Waveform

IMAGE = ImagePreprocess((4, 4))
KEYS = [f"key {i}" for i in range(10)]


def image(value=7):
    return torch.full((3, 4, 4), value, dtype=torch.uint8)


def never():
    raise AssertionError("decoded again")


def test_what_was_decoded_once_is_not_decoded_again(tmp_path):
    cache = open_cache("image", IMAGE, KEYS, 1.0, {}, tmp_path)
    assert torch.equal(cache.get(3, image), image())
    assert torch.equal(cache.get(3, never), image())
    again = open_cache("image", IMAGE, KEYS, 1.0, {}, tmp_path)
    assert torch.equal(again.get(3, never), image())


def test_a_stored_sound_is_the_same_to_the_bit(tmp_path):
    sound = Waveform(torch.randn(300), 8000)
    cache = open_cache("audio", AudioPreprocess(8000, 0.1, 80, 16), KEYS, 1.0, {}, tmp_path)
    cache.get(0, lambda: sound)
    stored = cache.get(0, never)
    assert torch.equal(stored.samples, sound.samples) and stored.sample_rate == 8000


@pytest.mark.parametrize("other", [("image", ImagePreprocess((8, 8)), KEYS), ("image", IMAGE, KEYS[::-1])])
def test_other_content_or_settings_have_another_cache(tmp_path, other):
    assert (
        open_cache(*other, 1.0, {}, tmp_path).path != open_cache("image", IMAGE, KEYS, 1.0, {}, tmp_path).path
    )


def test_a_half_written_slot_is_decoded_again(tmp_path):
    cache = open_cache("image", IMAGE, KEYS, 1.0, {}, tmp_path)
    cache.get(0, image)
    with open(cache.path, "r+b") as file:
        file.write(b"\xff")
    assert torch.equal(open_cache("image", IMAGE, KEYS, 1.0, {}, tmp_path).get(0, lambda: image(9)), image(9))


def test_a_folder_that_may_not_be_written_stops_nothing(tmp_path, caplog):
    (tmp_path / "file").write_text("not a folder")
    cache = DecodedCache(tmp_path / "file" / "a.bin", 10, (3, 4, 4))
    assert torch.equal(cache.get(0, image), image())
    assert "decoded samples are not kept" in caplog.text


def test_only_what_fits_is_kept(tmp_path):
    cache = open_cache("image", IMAGE, KEYS, 5 * 48 / 2**30, {}, tmp_path)
    assert cache.num_slots == 5
    cache.get(7, image)
    assert torch.equal(cache.get(7, lambda: image(9)), image(9))


def test_the_caches_used_longest_ago_make_room(tmp_path):
    size = 10 * 3 * 64 * 64
    caches = []
    for i in range(3):
        keys = [f"{i} {key}" for key in KEYS]
        cache = open_cache("image", ImagePreprocess((64, 64)), keys, 2.5 * size / 2**30, {}, tmp_path)
        for slot in range(10):
            cache.get(slot, lambda: torch.from_numpy(np.random.randint(0, 255, (3, 64, 64), np.uint8)))
        os.utime(cache.path, (1000 + i, 1000 + i))
        caches.append(cache.path)
    assert [path.exists() for path in caches] == [False, True, True]


def test_nothing_is_kept_of_text_or_without_room(tmp_path):
    assert open_cache("text", TextPreprocess("", "", 4), KEYS, 1.0, {}, tmp_path) is None
    assert open_cache("image", IMAGE, KEYS, 0.0, {}, tmp_path) is None


def test_a_cache_goes_to_workers(tmp_path):
    cache = open_cache("image", IMAGE, KEYS, 1.0, {}, tmp_path)
    cache.get(0, image)
    assert len(pickle.dumps(cache)) < 2000
    assert torch.equal(pickle.loads(pickle.dumps(cache)).get(0, never), image())


def test_the_splits_of_a_run_share_the_room_and_leave_each_other_alone(tmp_path):
    size = 10 * 3 * 4 * 4
    for _ in range(2):
        opened = {}
        train = open_cache("image", IMAGE, KEYS, 1.5 * size / 2**30, opened, tmp_path)
        val = open_cache("image", IMAGE, KEYS[::-1], 1.5 * size / 2**30, opened, tmp_path)
        assert (train.num_slots, val.num_slots) == (10, 5)
        for i in range(10):
            train.get(i, image), val.get(i, image)
    assert train.get(9, never) is not None and val.get(4, never) is not None

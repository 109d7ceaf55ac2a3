import pytest
import torch

from unimodal.backbone import masks
from unimodal.backbone.masks import EVERYWHERE, Visibility, attention_mask


def visibility(num=4, **fields):
    plain = {
        "keys": torch.ones(1, num, dtype=torch.bool),
        "padded": False,
        "causal": False,
        "prefix": None,
        "segments": None,
        "num_queries": num,
    }
    return Visibility(**(plain | fields))


def seen(see, window=None):
    """The whole picture, bool [B, Q, K], also where attention_mask leaves it to the kernel."""
    mask, is_causal = attention_mask(see, window)
    batch, num_keys = see.keys.shape
    everything = torch.ones(batch, see.num_queries, num_keys, dtype=torch.bool)
    if is_causal:
        assert mask is None and see.num_queries == num_keys
        return everything.tril()
    return everything if mask is None else everything & mask[:, 0]


def picture(text):
    return torch.tensor([[c == "x" for c in row.split()] for row in text.strip().splitlines()])


def drawn():
    """The pictures of the module's docstring, by their titles."""
    titles, *rows = [line for line in masks.__doc__.splitlines() if line.startswith("    ")]
    names = [name.strip() for name in titles.split("  ") if name.strip()]
    columns = zip(*([part.strip() for part in row.split("   ") if part.strip()] for row in rows), strict=True)
    return {name: picture("\n".join(column)) for name, column in zip(names, columns, strict=True)}


CALLS = {
    "bidirectional": {},
    "causal": {"causal": True},
    "prefix of 2": {"causal": True, "prefix": torch.tensor([[True, True, False, False]])},
    "segments AABB": {"segments": torch.tensor([[0, 0, 1, 1]])},
}


def test_every_picture_of_the_docstring_has_a_call():
    assert list(drawn()) == list(CALLS)


@pytest.mark.parametrize("title", CALLS)
@pytest.mark.parametrize("padded", [False, True])  # True takes another path to the same picture
def test_masks_look_as_drawn(title, padded):
    assert torch.equal(seen(visibility(**CALLS[title], padded=padded))[0], drawn()[title])


def test_causal_and_segments_combine():
    see = visibility(causal=True, segments=torch.tensor([[0, 0, 1, 1]]))
    assert torch.equal(seen(see)[0], drawn()["causal"] & drawn()["segments AABB"])


def test_a_window_limits_sight_on_either_side():
    wanted = picture("""
        x x . .
        x x x .
        . x x x
        . . x x
    """)
    assert torch.equal(seen(visibility(), window=1)[0], wanted)
    assert torch.equal(seen(visibility(causal=True), window=1)[0], wanted.tril())
    assert seen(visibility(), window=3).all()
    assert torch.equal(seen(visibility(), window=0)[0], torch.eye(4, dtype=torch.bool))


def test_padding_takes_no_room_in_a_window():
    keys = torch.tensor([[True, False, True, True]])
    for causal in (False, True):
        with_gap = seen(visibility(keys=keys, padded=True, causal=causal), window=1)[0]
        wanted = seen(visibility(num=3, causal=causal), window=1)[0]
        assert torch.equal(with_gap[keys[0]][:, keys[0]], wanted)


def test_padding_is_seen_by_none_but_itself():
    keys = torch.tensor([[False, True, True, False]])
    columns = keys.expand(4, -1)
    itself = torch.eye(4, dtype=torch.bool)
    assert torch.equal(seen(visibility(keys=keys, padded=True))[0], columns)
    causal = seen(visibility(keys=keys, padded=True, causal=True))[0]
    assert torch.equal(causal, columns.tril() | itself)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("window", [None, 1])
def test_no_row_is_empty_even_where_all_is_padding(call, window):
    keys = torch.tensor([[False] * 4, [True, True, False, False]])
    picture = seen(visibility(keys=keys, padded=True, **call), window)
    assert picture.any(-1).all()
    assert picture[1, :2, :2].any(-1).all()


def test_registers_are_seen_by_every_segment_and_see_only_each_other():
    segments = torch.tensor([[EVERYWHERE, EVERYWHERE, 0, 0, 1]])
    wanted = picture("""
        x x . . .
        x x . . .
        x x x x .
        x x x x .
        x x . . x
    """)
    assert torch.equal(seen(visibility(num=5, segments=segments))[0], wanted)


@pytest.mark.parametrize("num_queries", [1, 2, 3, 4])
@pytest.mark.parametrize("window", [None, 1])
@pytest.mark.parametrize("padded", [False, True])
def test_later_queries_see_what_they_see_in_the_whole(num_queries, window, padded):
    keys = torch.tensor([[not padded, True, True, True]])
    whole = seen(visibility(keys=keys, padded=padded, causal=True), window)
    part = seen(visibility(keys=keys, padded=padded, causal=True, num_queries=num_queries), window)
    assert torch.equal(part, whole[:, -num_queries:])


@pytest.mark.parametrize(("causal", "wanted"), [(False, (None, False)), (True, (None, True))])
def test_unpadded_sequences_take_the_fast_kernels(causal, wanted):
    assert attention_mask(visibility(causal=causal)) == wanted
    assert attention_mask(visibility(causal=causal, num_queries=1))[0] is None

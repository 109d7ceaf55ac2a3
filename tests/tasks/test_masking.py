import pytest
import torch

from unimodal.tasks.masking import Masking, noise, places, take
from unimodal.tokenizers.pixels import grid

EACH = [[0, 1, 2]]
CLIP = grid(4, 3, 3, device=torch.device("cpu"))  # times, rows, columns


def hidden(masking, positions=CLIP, batch=5, mask=None, seeds=None):
    mask = torch.ones(batch, positions.shape[1], dtype=torch.bool) if mask is None else mask
    return masking(mask, positions, torch.arange(len(mask)) if seeds is None else seeds)


@pytest.mark.parametrize("together", [EACH, [[1, 2]], [[0]], [[1]], [[0], [1]]])
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.75, 0.9])
def test_the_share_is_exact(together, ratio):
    chosen = hidden(Masking(together, ratio))
    assert chosen.sum(1).tolist() == [int(36 * ratio)] * 5


def test_a_tube_is_hidden_at_all_times():
    chosen = hidden(Masking([[1, 2]], 6 / 9 + 1e-3)).view(5, 4, 9)
    assert torch.equal(chosen, chosen[:, :1].expand_as(chosen)) and chosen[:, 0].sum() == 5 * 6


def test_a_time_is_hidden_whole_and_so_is_a_band():
    times = hidden(Masking([[0]], 0.5)).view(5, 4, 9)
    assert torch.equal(times.any(-1), times.all(-1)) and times.any(-1).sum() == 5 * 2
    bands = hidden(Masking([[1]], 2 / 3)).view(5, 4, 3, 3)
    assert torch.equal(bands.any(1).any(-1), bands[:, :2].any(1).any(-1))


def test_times_and_bands_are_hidden_together():
    spectrogram = grid(8, 8, device=torch.device("cpu"))
    spectrogram = torch.nn.functional.pad(spectrogram, (0, 1))
    seen = ~hidden(Masking([[0], [1]], 0.75), spectrogram).view(5, 8, 8)
    for one in seen:  # what is left is the crossing of some times with some bands
        rows, columns = one.any(1), one.any(0)
        assert (rows[:, None] & columns).sum() <= one.sum() + 8


def test_side_by_side_places_count_as_one():
    frames = grid(12, device=torch.device("cpu")).expand(-1, -1, 3)
    chosen = hidden(Masking(EACH, 0.5, size=3), frames).view(5, 4, 3)
    assert torch.equal(chosen.any(-1), chosen.all(-1))


def test_centred_coordinates_are_told_apart():
    chosen = hidden(Masking(EACH, 0.5), CLIP * 0.01 - 0.02)
    assert len({tuple(row) for row in chosen.tolist()}) == 5 and chosen.sum() == 5 * 18


def test_a_sample_is_masked_alike_in_any_batch_and_padding_never_is():
    masking, seeds = Masking(EACH, 0.75), torch.tensor([7, 2**62 + 5, 9])
    lengths = torch.tensor([36, 20, 3])
    mask = torch.arange(36) < lengths[:, None]
    together = hidden(masking, mask=mask, seeds=seeds)
    assert not (together & ~mask).any()
    assert together.sum(1).tolist() == [27, 15, 2]
    for row, length in enumerate(lengths.tolist()):
        alone = hidden(
            masking, CLIP[:, :length], mask=mask[row : row + 1, :length], seeds=seeds[row : row + 1]
        )
        assert torch.equal(alone[0], together[row, :length])


def test_one_token_is_always_left():
    masking = Masking(EACH, 0.999)
    assert [masking.num_hidden(num) for num in (0, 1, 2, 10)] == [0, 0, 1, 9]


def test_seeds_make_other_masks_and_every_token_is_hidden_equally_often():
    chosen = hidden(Masking(EACH, 0.75), batch=4000, seeds=torch.arange(4000) * 3).float()
    assert (chosen.mean(0) - 0.75).abs().max() < 0.035
    pairs = chosen[:, :18] @ torch.diag(torch.ones(18)) * chosen[:, 18:]
    assert abs(pairs.mean() - (27 * 26) / (36 * 35)) < 0.01


def test_noise_is_even_and_depends_on_every_key():
    keys = torch.stack(torch.meshgrid(torch.arange(30), torch.arange(30), indexing="ij"), -1).view(1, -1, 2)
    drawn = noise(torch.arange(20), keys)
    assert drawn.min() >= 0 and drawn.max() < 2**32 and drawn.unique().numel() == drawn.numel()
    assert abs(drawn.double().mean() / 2**32 - 0.5) < 0.01


def test_places_are_in_order_and_take_reads_them():
    chosen = torch.tensor([[0, 1, 0, 1], [1, 0, 0, 0]]).bool()
    at = places(chosen, 2)
    assert at.tolist() == [[1, 3], [0, 1]]
    values = torch.arange(4.0).view(1, 4, 1)
    assert take(values, at)[..., 0].tolist() == [[1, 3], [0, 1]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 0.0}, r"task\.masking\.ratio=0\.0"),
        ({"ratio": 1.0}, r"task\.masking\.ratio=1\.0"),
        ({"ratio": 0.9996}, r"task\.masking\.ratio=0\.9996"),
        ({"ratio": 0.0004}, r"task\.masking\.ratio=0\.0004"),
        ({"ratio": 0.5, "size": 0}, r"task\.masking\.size=0"),
        ({"ratio": 0.5, "together": [[3]]}, "axes 0, 1 and 2"),
        ({"ratio": 0.5, "together": []}, "axes 0, 1 and 2"),
    ],
)
def test_what_has_no_meaning_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Masking(**{"together": EACH, **options})

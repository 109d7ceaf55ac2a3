from math import pi

import pytest
import torch

from unimodal.backbone.transformer import Transformer
from unimodal.data.collate import collate
from unimodal.tokenizers.image import ImagePatchTokenizer
from unimodal.tokenizers.image_any import AnySizePreprocess, ImageAnySizeTokenizer

SIZES = [(8, 8), (4, 20), (24, 4), (12, 16)]


def picture(height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {"image": torch.randint(256, (3, height, width), generator=generator, dtype=torch.uint8)}


def tokenizer(**knobs):
    torch.manual_seed(0)
    return ImageAnySizeTokenizer(32, **{"patch_size": 4, "max_patches": 16, **knobs})


def batch_of(model, sizes=SIZES):
    return collate([model.preprocess(picture(*size, seed)) for seed, size in enumerate(sizes)])


@pytest.mark.parametrize("max_patches", [1, 7, 64, 256])
@pytest.mark.parametrize("min_size", [0, 48])
def test_the_size_is_the_nearest_whole_patches_and_never_too_large(max_patches, min_size):
    preprocess = AnySizePreprocess(8, max_patches, min_size)
    sides = [1, 3, 8, 9, 12, 31, 64, 100, 333, 5000]
    for height in sides:
        for width in sides:
            rows, columns = (side / 8 for side in preprocess.image_size(height, width))
            assert rows == int(rows) >= 1 and columns == int(columns) >= 1 and rows * columns <= max_patches
            if min(rows, columns) > 4:
                assert 0.75 < (rows / columns) / (height / width) < 1.33


def test_an_image_that_fits_keeps_its_size_and_a_larger_one_its_shape():
    preprocess = AnySizePreprocess(8, 64)
    assert preprocess.image_size(40, 64) == (40, 64) and preprocess.image_size(41, 62) == (40, 64)
    assert preprocess.image_size(300, 400) == (56, 72) and preprocess.image_size(4000, 1000) == (128, 32)
    assert preprocess.image_size(3, 2) == (8, 8)


def test_a_small_image_grows_to_min_size_and_no_further():
    preprocess = AnySizePreprocess(8, 64, min_size=32)
    assert preprocess.image_size(16, 24) == (32, 48)
    assert preprocess.image_size(16, 160) == (16, 200)  # as far as max_patches lets it
    assert preprocess.image_size(40, 40) == (40, 40)


def test_patches_are_those_of_a_tokenizer_of_that_very_size():
    model = tokenizer()
    plain = ImagePatchTokenizer(32, image_size=(12, 16), patch_size=4)
    plain.load_state_dict(model.state_dict())
    wanted = plain({"pixel_values": picture(12, 16)["image"][None]})
    tokens = model(collate([model.preprocess(picture(12, 16))]))
    torch.testing.assert_close(tokens.embeds, wanted.embeds)
    assert torch.equal(tokens.positions, wanted.positions) and not tokens.padded


@pytest.mark.parametrize("knobs", [{}, {"learned_positions": True}, {"fractional_positions": True}])
@torch.no_grad()
def test_a_picture_becomes_what_it_becomes_alone(knobs):
    model = tokenizer(num_prefix_tokens=2, **knobs)
    together = model(batch_of(model))
    assert together.mask.sum(1).tolist() == [6, 7, 8, 14] and together.padded
    for row, size in enumerate(SIZES):
        alone = model(collate([model.preprocess(picture(*size, row))]))
        num = alone.embeds.shape[1]
        torch.testing.assert_close(together.embeds[row, :num], alone.embeds[0])
        torch.testing.assert_close(together.positions[row, :num], alone.positions[0])


@torch.no_grad()
def test_what_padding_holds_changes_nothing():
    model = tokenizer(fractional_positions=True)
    clean = batch_of(model)
    junk = torch.where(clean["pixel_patches_mask"][..., None], clean["pixel_patches"], 99)
    far = torch.where(clean["pixel_patches_mask"][..., None], clean["patch_places"], 99)
    dirty = clean | {"pixel_patches": junk, "patch_places": far}
    reader = Transformer(32, 2, 4, num_registers=1)
    one, other = (reader(model(batch)).embeds[clean["pixel_patches_mask"]] for batch in (clean, dirty))
    torch.testing.assert_close(one, other)


def test_fractional_positions_run_from_edge_to_edge_in_every_size():
    model = tokenizer(fractional_positions=True)
    tokens = model(batch_of(model, [(4, 16), (16, 8)]))
    middles = pi * torch.tensor([-1.5, -0.5, 0.5, 1.5])
    torch.testing.assert_close(tokens.positions[0, :4, 2], middles)
    torch.testing.assert_close(tokens.positions[0, :4, 1], torch.zeros(4))
    torch.testing.assert_close(tokens.positions[1, ::2, 1], middles)
    assert not tokens.positions[..., 0].any()


def test_the_grid_of_learned_positions_is_laid_over_every_size():
    model = tokenizer(learned_positions=True)
    assert model.position_grid == (4, 4)
    tokens = model.tokenize(batch_of(model, [(16, 16), (4, 4), (8, 8)]))
    index = model.position_index(tokens)
    assert index[0].tolist() == list(range(16)) and index[1, 0] == 10  # 2, 2
    assert index[2, :4].tolist() == [5, 7, 13, 15]


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ValueError, match=r"excludes tokenizer\.frac"):
        tokenizer(learned_positions=True, fractional_positions=True)
    with pytest.raises(ValueError, match="10 x 8 pixels"):
        tokenizer().preprocess(picture(10, 8))

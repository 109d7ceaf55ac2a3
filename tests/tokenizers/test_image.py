import pytest
import torch

from unimodal.tokenizers.image import ImageConvTokenizer, ImagePatchTokenizer, ImagePreprocess

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
CONSTANTS = {"mean": MEAN, "std": STD}


def pixels(height=12, width=8, batch=2):
    rng = torch.Generator().manual_seed(0)
    return torch.randint(256, (batch, 3, height, width), generator=rng, dtype=torch.uint8)


def patch_tokenizer(**changes):
    torch.manual_seed(0)
    return ImagePatchTokenizer(
        32, **({"image_size": (12, 8), "patch_size": 4, "mean": MEAN, "std": STD} | changes)
    )


def conv_tokenizer(**changes):
    torch.manual_seed(0)
    return ImageConvTokenizer(
        32, **({"image_size": (12, 8), "num_layers": 2, "mean": MEAN, "std": STD} | changes)
    )


BOTH = pytest.mark.parametrize("make", [patch_tokenizer, conv_tokenizer])


def test_patches_are_read_row_by_row_channel_first():
    model, x = patch_tokenizer(), torch.randn(2, 3, 12, 8)
    tokens = model({"pixel_values": x})
    i = 0
    for row in range(3):
        for column in range(2):
            patch = x[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            torch.testing.assert_close(tokens.embeds[:, i], model.project(patch.reshape(2, -1)))
            assert tokens.positions[0, i].tolist() == [0, row, column]
            i += 1
    assert tokens.embeds.shape[1] == i


def test_a_patch_is_what_a_strided_convolution_sees():
    model, x = patch_tokenizer(), torch.randn(2, 3, 12, 8)
    kernel = model.project.weight.unflatten(1, (3, 4, 4))
    wanted = torch.nn.functional.conv2d(x, kernel, model.project.bias, stride=4).flatten(2).transpose(1, 2)
    torch.testing.assert_close(model({"pixel_values": x}).embeds, wanted, atol=1e-5, rtol=1e-5)


def test_the_stem_halves_the_map_in_each_layer():
    tokens = conv_tokenizer()({"pixel_values": torch.randn(2, 3, 12, 8)})
    assert tokens.positions[0].tolist() == [[0, row, column] for row in range(3) for column in range(2)]
    assert tokens.embeds.shape == (2, 6, 32)


def test_a_token_of_the_stem_stands_where_it_looks():
    model, x = conv_tokenizer(image_size=32), torch.randn(1, 3, 32, 32)
    changed = x.clone()
    changed[..., 17:19, 25:27] += 1  # inside the token at row 4, column 6
    change = (model({"pixel_values": changed}).embeds - model({"pixel_values": x}).embeds).abs().sum((0, 2))
    row, column = divmod(change.argmax().item(), 8)
    assert (row, column) == (4, 6)


@BOTH
def test_uint8_is_normalised_as_floats_are(make):
    model, x = make(), pixels()
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    floats = (x.float() / 255 - mean) / std
    torch.testing.assert_close(model({"pixel_values": x}).embeds, model({"pixel_values": floats}).embeds)
    assert not torch.allclose(model({"pixel_values": x.float()}).embeds, model({"pixel_values": x}).embeds)


@BOTH
def test_the_constants_are_in_the_state_dict(make):
    state = make().state_dict()
    torch.testing.assert_close(state["normalise.mean"].flatten(), torch.tensor(MEAN))
    torch.testing.assert_close(state["normalise.std"].flatten(), torch.tensor(STD))


@pytest.mark.parametrize(
    ("make", "changes", "named"),
    [
        (patch_tokenizer, {"image_size": 225}, "tokenizer.image_size=225.*tokenizer.patch_size=4"),
        (patch_tokenizer, {"image_size": (12, 9)}, "tokenizer.image_size=9"),
        (patch_tokenizer, {"image_size": (12, 8, 3)}, r"tokenizer.image_size=\(12, 8, 3\)"),
        (patch_tokenizer, {"patch_size": 0}, "tokenizer.patch_size=0"),
        (patch_tokenizer, {"image_size": 0}, "tokenizer.image_size=0"),
        (conv_tokenizer, {"image_size": 10}, r"tokenizer.image_size=10.*tokenizer.num_layers=4"),
        (conv_tokenizer, {"num_layers": 0}, "tokenizer.num_layers=0"),
    ],
)
def test_a_size_that_does_not_fit_names_its_knob(make, changes, named):
    with pytest.raises(ValueError, match=named):
        make(**changes)


def test_an_image_of_another_size_is_refused_by_preprocess():
    with pytest.raises(ValueError, match=r"\(3, 12, 9\); \(3, 12, 8\)"):
        ImagePreprocess((12, 8))({"image": pixels(12, 9)[0]})


@BOTH
@pytest.mark.parametrize("size", [(12, 14), (8, 12)])  # the second has as many patches
def test_a_batch_of_another_size_is_refused(make, size):
    with pytest.raises(ValueError, match=r"\(12, 8\) was wanted, which is tokenizer.image_size"):
        make()({"pixel_values": pixels(*size)})

import pytest
import torch

from unimodal.tokenizers.video import VideoPreprocess, VideoTubeletTokenizer

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def tokenizer(**changes):
    torch.manual_seed(0)
    sizes = {"num_frames": 6, "image_size": (8, 12), "tubelet_size": 2, "patch_size": 4}
    return VideoTubeletTokenizer(**({"dim": 32, "mean": MEAN, "std": STD} | sizes | changes))


def test_tubelets_are_read_frame_by_frame_and_row_by_row():
    model, x = tokenizer(), torch.randn(2, 6, 3, 8, 12)
    tokens = model({"pixel_values_videos": x})
    i = 0
    for t in range(3):
        for row in range(2):
            for column in range(3):
                block = x[:, 2 * t : 2 * t + 2, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
                flat = block.transpose(1, 2).reshape(2, -1)  # channel, frame, row, column
                torch.testing.assert_close(tokens.embeds[:, i], model.project(flat))
                assert tokens.positions[0, i].tolist() == [t, row, column]
                i += 1
    assert tokens.embeds.shape[1] == i


def test_a_tubelet_is_what_a_strided_convolution_sees():
    model, x = tokenizer(), torch.randn(2, 6, 3, 8, 12)
    kernel = model.project.weight.unflatten(1, (3, 2, 4, 4))
    wanted = torch.nn.functional.conv3d(x.transpose(1, 2), kernel, model.project.bias, stride=(2, 4, 4))
    ours = model({"pixel_values_videos": x}).embeds
    torch.testing.assert_close(ours, wanted.flatten(2).transpose(1, 2), atol=1e-5, rtol=1e-5)


def test_uint8_is_normalised_as_floats_are():
    rng = torch.Generator().manual_seed(0)
    model, x = tokenizer(), torch.randint(256, (2, 6, 3, 8, 12), generator=rng, dtype=torch.uint8)
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    floats = (x.float() / 255 - mean) / std
    ours, theirs = model({"pixel_values_videos": x}), model({"pixel_values_videos": floats})
    torch.testing.assert_close(ours.embeds, theirs.embeds)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"num_frames": 5}, "tokenizer.num_frames=5.*tokenizer.tubelet_size=2"),
        ({"image_size": 10}, "tokenizer.image_size=10.*tokenizer.patch_size=4"),
        ({"image_size": (8, 10)}, "tokenizer.image_size=10"),
        ({"num_frames": 0}, "tokenizer.num_frames=0"),
    ],
)
def test_a_size_that_does_not_fit_names_its_knob(changes, named):
    with pytest.raises(ValueError, match=named):
        tokenizer(**changes)


def test_a_clip_of_another_size_is_refused_by_preprocess():
    with pytest.raises(ValueError, match=r"\(5, 3, 8, 12\); \(6, 3, 8, 12\)"):
        VideoPreprocess(6, (8, 12))({"video": torch.zeros(5, 3, 8, 12, dtype=torch.uint8)})


@pytest.mark.parametrize("shape", [(2, 7, 3, 8, 12), (2, 6, 3, 8, 14)])
def test_a_batch_of_another_size_is_refused(shape):
    with pytest.raises(ValueError, match=r"\(6, 8, 12\) was wanted, which is tokenizer.num_frames"):
        tokenizer()({"pixel_values_videos": torch.zeros(shape)})

"""Video as sequences: linear tubelets (ViViT), or a small convolutional stem in time and space."""

import dataclasses
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unimodal.tokenizers.base import Choose, Tokenizer, check_multiple, check_positive, pair, projection
from unimodal.tokenizers.image import HALF
from unimodal.tokenizers.pixels import Normalise, blank, check_size, cut, grid
from unimodal.tokenizers.sincos import check_one_kind, sincos_1d
from unimodal.types import Batch, TokenSequence, full_mask


@dataclass(frozen=True)
class VideoPreprocess:
    """What a worker does to a clip that data has cut to `num_frames` and resized to `image_size` (H, W).

    Attributes:
        num_frames: of every clip.
        image_size: height and width of a frame.
        tokens: that every clip becomes, prefix included.
    """

    num_frames: int
    image_size: tuple[int, int]
    field: str = "video"
    tokens: int = dataclasses.field(default=0, repr=False)  # no part of the name of decoded caches

    def __call__(self, sample: dict[str, Any]) -> dict[str, Tensor]:
        """`video` uint8 [T, 3, H, W] -> `pixel_values_videos`, the same."""
        video, wanted = sample["video"], (self.num_frames, 3, *self.image_size)
        if tuple(video.shape) != wanted:
            raise ValueError(f"the clip has shape {tuple(video.shape)}; {wanted} was wanted.")
        return {"pixel_values_videos": video}

    def num_tokens(self, example: dict[str, Tensor]) -> int:
        """How many tokens an example becomes, prefix included."""
        return self.tokens


class VideoTubeletTokenizer(Tokenizer):
    """Non-overlapping tubelets, each through one linear map (Arnab et al. 2021, ViViT, arXiv 2103.15691).

    The tubelet at time t, row y and column x stands at (t, y, x).

    Args:
        dim: the shared width.
        num_frames: frames of a clip, spread evenly over it.
        image_size: height and width, or one number for both; frames are resized to it.
        tubelet_size: frames of a tubelet.
        patch_size: side of a tubelet.
        mean: per channel of pixels scaled to 0..1.
        std: likewise.
        num_prefix_tokens: learned tokens before the tubelets.
        learned_positions: add a learned vector for each place.
        sincos_positions: add a fixed vector for each place, sines and cosines of its number (VideoMAE, Tong
            et al. 2022, arXiv 2203.12602).
    """

    input_key = "pixel_values_videos"

    def __init__(
        self,
        dim: int,
        num_frames: int = 16,
        image_size: int | tuple[int, int] = 224,
        tubelet_size: int = 2,
        patch_size: int = 16,
        mean: tuple[float, float, float] = HALF,
        std: tuple[float, float, float] = HALF,
        num_prefix_tokens: int = 0,
        learned_positions: bool = False,
        sincos_positions: bool = False,
    ):
        check_one_kind(learned_positions, sincos_positions)
        height, width = pair(image_size, "tokenizer.image_size")
        check_multiple("tokenizer.num_frames", num_frames, "tokenizer.tubelet_size", tubelet_size)
        for side in (height, width):
            check_multiple("tokenizer.image_size", side, "tokenizer.patch_size", patch_size)
        num_tubelets = (num_frames // tubelet_size) * (height // patch_size) * (width // patch_size)
        super().__init__(dim, num_prefix_tokens, num_tubelets if learned_positions else 0)
        self.preprocess = VideoPreprocess(
            num_frames, (height, width), tokens=num_prefix_tokens + num_tubelets
        )
        self.tubelet_size, self.patch_size = tubelet_size, patch_size
        self.sincos_positions = sincos_positions
        self.normalise = Normalise(mean, std)
        self.project = projection(3 * tubelet_size * patch_size**2, dim)

    @property
    def position_grid(self) -> tuple[int, ...]:
        """Tubelets in time, rows and columns."""
        (height, width), p = self.preprocess.image_size, self.patch_size
        return self.preprocess.num_frames // self.tubelet_size, height // p, width // p

    @property
    def target_size(self) -> int:
        """Channels and pixels of a tubelet."""
        return 3 * self.tubelet_size * self.patch_size**2

    def targets(self, batch: Batch) -> Tensor:
        """[B, T, 3, H, W] -> the pixels of each tubelet, [B, N, 3 * tubelet * patch * patch]."""
        pixels = self.normalise(batch["pixel_values_videos"]).transpose(1, 2)  # [B, 3, T, H, W]
        wanted = (self.preprocess.num_frames, *self.preprocess.image_size)
        check_size("pixel_values_videos", pixels.shape[2:], wanted, "tokenizer.num_frames and image_size")
        return cut(pixels, self.tubelet_size, self.patch_size, self.patch_size)

    def tokenize(self, batch: Batch) -> TokenSequence:
        """[B, T, 3, H, W] -> T / tubelet * H / patch * W / patch tokens, frame by frame and row by row."""
        embeds = self.project(self.targets(batch))
        if self.sincos_positions:
            embeds = embeds + sincos_1d(embeds.shape[1], self.dim, embeds.device).to(embeds.dtype)
        positions = grid(*self.position_grid, device=embeds.device)
        return TokenSequence(embeds, full_mask(embeds), positions, padded=False)


class VideoConvTokenizer(Tokenizer):
    """A convolutional stem in time and space, what CCT's (Hassani et al. 2021, arXiv 2104.05704) is in space.

    It reads each frame beside what has changed since the one before (Wang et al. 2016, arXiv 1608.00859).
    Each layer is a 3x3x3 convolution that strides over height and width, and in the first `num_time_layers`
    over time too, and ReLU; the last has none. It finds motion in small sets better than linear tubelets. The
    token at time t, row y and column x of the last map stands at (t, y, x).

    Args:
        dim: the shared width.
        num_frames: frames of a clip, spread evenly over it.
        image_size: height and width, or one number for both; frames are resized to it.
        num_layers: each halves height and width; the stem has dim / 2 channels until the last.
        num_time_layers: how many of them halve time.
        mean: per channel of pixels scaled to 0..1.
        std: likewise.
        num_prefix_tokens: learned tokens before the map.
        learned_positions: add a learned vector for each place.
    """

    input_key = "pixel_values_videos"

    def __init__(
        self,
        dim: int,
        num_frames: int = 16,
        image_size: int | tuple[int, int] = 64,
        num_layers: int = 4,
        num_time_layers: int = 1,
        mean: tuple[float, float, float] = HALF,
        std: tuple[float, float, float] = HALF,
        num_prefix_tokens: int = 0,
        learned_positions: bool = False,
    ):
        height, width = pair(image_size, "tokenizer.image_size")
        check_positive(num_layers=num_layers)
        if not 0 <= num_time_layers <= num_layers:
            raise ValueError(
                f"tokenizer.num_time_layers={num_time_layers} is not between 0 and num_layers={num_layers}."
            )
        stride = 2**num_layers
        check_multiple(
            "tokenizer.num_frames", num_frames, "2 ** tokenizer.num_time_layers", 2**num_time_layers
        )
        for side in (height, width):
            check_multiple("tokenizer.image_size", side, "2 ** tokenizer.num_layers", stride)
        self.stride = (2**num_time_layers, stride, stride)
        num_tokens = num_frames * height * width // math.prod(self.stride)
        super().__init__(dim, num_prefix_tokens, num_tokens if learned_positions else 0)
        self.preprocess = VideoPreprocess(num_frames, (height, width), tokens=num_prefix_tokens + num_tokens)
        self.normalise = Normalise(mean, std)
        widths = [6, *[dim // 2] * (num_layers - 1), dim]
        strides = [(1 + (layer_idx < num_time_layers), 2, 2) for layer_idx in range(num_layers)]
        layers = [
            nn.Conv3d(i, o, 3, stride, padding=1)
            for (i, o), stride in zip(pairwise(widths), strides, strict=True)
        ]
        self.layers = nn.ModuleList(layers)
        for layer in layers:
            nn.init.kaiming_normal_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    @property
    def position_grid(self) -> tuple[int, ...]:
        """Places of the last map in time, rows and columns."""
        sizes = (self.preprocess.num_frames, *self.preprocess.image_size)
        return tuple(size // stride for size, stride in zip(sizes, self.stride, strict=True))

    @property
    def target_size(self) -> int:
        """Channels and pixels of a token's own place, though it sees a little more."""
        return 3 * math.prod(self.stride)

    def targets(self, batch: Batch) -> Tensor:
        """[B, T, 3, H, W] -> the pixels of each place, [B, N, 3 * product of strides]."""
        return cut(self.normalise(batch["pixel_values_videos"]).transpose(1, 2), *self.stride)

    def hide(self, batch: Batch, choose: Choose) -> tuple[TokenSequence, Tensor]:
        """As the base says; the stem reads hidden places as blank."""
        pixels = self.normalise(batch["pixel_values_videos"]).transpose(1, 2)
        blanked, hidden = blank(pixels, self.position_grid, choose)
        return self({"pixel_values_videos": blanked.transpose(1, 2)}), hidden

    def tokenize(self, batch: Batch) -> TokenSequence:
        """[B, T, 3, H, W] -> T / 2^time layers * H / 2^layers * W / 2^layers tokens, frame by frame."""
        x = self.normalise(batch["pixel_values_videos"]).transpose(1, 2)  # [B, 3, T, H, W]
        wanted = (self.preprocess.num_frames, *self.preprocess.image_size)
        check_size("pixel_values_videos", x.shape[2:], wanted, "tokenizer.num_frames and image_size")
        x = torch.cat((x, F.pad(x[:, :, 1:] - x[:, :, :-1], (0, 0, 0, 0, 1, 0))), 1)
        for layer_idx, layer in enumerate(self.layers):
            x = layer(F.relu(x) if layer_idx else x)
        embeds = x.flatten(2).transpose(1, 2)  # [B, N, D]
        return TokenSequence(embeds, full_mask(embeds), grid(*x.shape[2:], device=x.device), padded=False)

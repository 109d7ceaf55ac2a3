"""Images as sequences: linear patches (ViT) or a small convolutional stem (CCT)."""

import dataclasses
from dataclasses import dataclass
from itertools import pairwise
from math import pi
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from unimodal.tokenizers.base import Choose, Tokenizer, check_multiple, check_positive, pair, projection
from unimodal.tokenizers.pixels import Normalise, blank, check_size, cut, grid
from unimodal.tokenizers.sincos import check_one_kind, sincos_2d
from unimodal.types import Batch, TokenSequence, full_mask

HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class ImagePreprocess:
    """What a worker does to an image that data has resized to `image_size` (height, width).

    Attributes:
        image_size: height and width.
        tokens: that every image becomes, prefix included.
    """

    image_size: tuple[int, int]
    field: str = "image"
    tokens: int = dataclasses.field(default=0, repr=False)  # no part of the name of decoded caches

    def __call__(self, sample: dict[str, Any]) -> dict[str, Tensor]:
        """`image` uint8 [3, H, W] -> `pixel_values`, the same."""
        image = sample["image"]
        if tuple(image.shape) != (3, *self.image_size):
            raise ValueError(
                f"the image has shape {tuple(image.shape)}; "
                f"(3, {self.image_size[0]}, {self.image_size[1]}) was wanted."
            )
        return {"pixel_values": image}

    def num_tokens(self, example: dict[str, Tensor]) -> int:
        """How many tokens an example becomes, prefix included."""
        return self.tokens


class ImagePatchTokenizer(Tokenizer):
    """Non-overlapping patches, each through one linear map (Dosovitskiy et al. 2020, arXiv 2010.11929).

    A patch at row y and column x stands at (0, y, x).

    Args:
        dim: the shared width.
        image_size: height and width, or one number for both; images are resized to it.
        patch_size: side of a patch.
        mean: per channel of pixels scaled to 0..1.
        std: likewise.
        num_prefix_tokens: learned tokens before the patches.
        learned_positions: add a learned vector for each place.
        sincos_positions: add a fixed vector for each place, sines and cosines of row and column.
        centred_positions: rotary coordinates run from -2 pi to 2 pi over the image, whatever its size, as in
            DINOv3 (arXiv 2508.10104), instead of counting patches.
        bias: of the linear map.
        norm_eps: of an RMS norm of the patches' embeddings before positions, as in AIMv2 (arXiv 2411.14402);
            None: no norm.
    """

    input_key = "pixel_values"

    def __init__(
        self,
        dim: int,
        image_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        mean: tuple[float, float, float] = HALF,
        std: tuple[float, float, float] = HALF,
        num_prefix_tokens: int = 0,
        learned_positions: bool = False,
        sincos_positions: bool = False,
        centred_positions: bool = False,
        bias: bool = True,
        norm_eps: float | None = None,
    ):
        check_one_kind(learned_positions, sincos_positions)
        height, width = pair(image_size, "tokenizer.image_size")
        for side in (height, width):
            check_multiple("tokenizer.image_size", side, "tokenizer.patch_size", patch_size)
        num_patches = (height // patch_size) * (width // patch_size)
        super().__init__(dim, num_prefix_tokens, num_patches if learned_positions else 0)
        self.preprocess = ImagePreprocess((height, width), tokens=num_prefix_tokens + num_patches)
        self.patch_size = patch_size
        self.sincos_positions, self.centred_positions = sincos_positions, centred_positions
        self.normalise = Normalise(mean, std)
        self.project = projection(3 * patch_size**2, dim, bias)
        self.norm = nn.Identity() if norm_eps is None else nn.RMSNorm(dim, norm_eps)

    @property
    def position_grid(self) -> tuple[int, ...]:
        """Rows and columns of patches."""
        height, width = self.preprocess.image_size
        return height // self.patch_size, width // self.patch_size

    @property
    def target_size(self) -> int:
        """Channels and pixels of a patch."""
        return 3 * self.patch_size**2

    def targets(self, batch: Batch) -> Tensor:
        """[B, 3, H, W] -> the pixels of each patch, [B, N, 3 * patch * patch]."""
        pixels, p = self.normalise(batch["pixel_values"]), self.patch_size
        check_size("pixel_values", pixels.shape[2:], self.preprocess.image_size, "tokenizer.image_size")
        return cut(pixels, p, p)

    def tokenize(self, batch: Batch) -> TokenSequence:
        """[B, 3, H, W] -> H / patch * W / patch tokens, row by row."""
        embeds = self.norm(self.project(self.targets(batch)))
        rows, columns = self.position_grid
        if self.sincos_positions:
            embeds = embeds + sincos_2d(rows, columns, self.dim, embeds.device).to(embeds.dtype)
        positions = grid(1, rows, columns, device=embeds.device)
        if self.centred_positions:
            sizes = positions.new_tensor((1, rows, columns))
            positions = 2 * pi * (2 * (positions + 0.5) / sizes - 1)
        return TokenSequence(embeds, full_mask(embeds), positions, padded=False)


class ImageConvTokenizer(Tokenizer):
    """A convolutional stem (Hassani et al. 2021, CCT, arXiv 2104.05704).

    Each layer is a 3x3 convolution, ReLU and 2x2 max pooling. The stem learns faster than linear patches on
    small sets. A token at row y and column x of the last map stands at (0, y, x).

    Args:
        dim: the shared width.
        image_size: height and width, or one number for both; images are resized to it.
        num_layers: each halves height and width; the stem has dim / 2 channels until the last.
        mean: per channel of pixels scaled to 0..1.
        std: likewise.
        num_prefix_tokens: learned tokens before the map.
        learned_positions: add a learned vector for each place.
    """

    input_key = "pixel_values"

    def __init__(
        self,
        dim: int,
        image_size: int | tuple[int, int] = 224,
        num_layers: int = 2,
        mean: tuple[float, float, float] = HALF,
        std: tuple[float, float, float] = HALF,
        num_prefix_tokens: int = 0,
        learned_positions: bool = False,
    ):
        height, width = pair(image_size, "tokenizer.image_size")
        check_positive(num_layers=num_layers)
        stride = 2**num_layers
        for side in (height, width):
            check_multiple("tokenizer.image_size", side, "2 ** tokenizer.num_layers", stride)
        num_places = height * width // stride**2
        super().__init__(dim, num_prefix_tokens, num_places if learned_positions else 0)
        self.preprocess = ImagePreprocess((height, width), tokens=num_prefix_tokens + num_places)
        self.normalise = Normalise(mean, std)
        widths = [3, *[dim // 2] * (num_layers - 1), dim]
        layers = [nn.Conv2d(i, o, 3, padding=1) for i, o in pairwise(widths)]
        self.layers = nn.ModuleList(layers)
        for layer in layers:
            nn.init.kaiming_normal_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    @property
    def position_grid(self) -> tuple[int, ...]:
        """Rows and columns of the last map."""
        height, width = self.preprocess.image_size
        return height >> len(self.layers), width >> len(self.layers)

    @property
    def target_size(self) -> int:
        """Channels and pixels of a token's own place, though it sees a little more."""
        return 3 * 4 ** len(self.layers)

    def targets(self, batch: Batch) -> Tensor:
        """[B, 3, H, W] -> the pixels of each place, [B, N, 3 * stride * stride]."""
        stride = 2 ** len(self.layers)
        return cut(self.normalise(batch["pixel_values"]), stride, stride)

    def hide(self, batch: Batch, choose: Choose) -> tuple[TokenSequence, Tensor]:
        """As the base says; the stem reads hidden places as blank."""
        pixels, hidden = blank(self.normalise(batch["pixel_values"]), self.position_grid, choose)
        return self({"pixel_values": pixels}), hidden

    def tokenize(self, batch: Batch) -> TokenSequence:
        """[B, 3, H, W] -> H / stride * W / stride tokens, row by row."""
        x = self.normalise(batch["pixel_values"])
        check_size("pixel_values", x.shape[2:], self.preprocess.image_size, "tokenizer.image_size")
        for layer in self.layers:
            x = F.max_pool2d(F.relu(layer(x)), 2)
        rows, columns = x.shape[2:]
        embeds = x.flatten(2).transpose(1, 2)  # [B, N, D]
        return TokenSequence(embeds, full_mask(embeds), grid(1, rows, columns, device=x.device), padded=False)

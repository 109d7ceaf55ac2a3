"""Images of any size and shape as patches, neither squeezed nor padded (Dehghani et al. 2023, NaViT).

See arXiv 2307.06304. Each picture becomes as many tokens as it has patches; pack them (`loader.pack=true`).
"""

from dataclasses import dataclass
from math import isqrt, pi
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from unimodal.tokenizers.base import Tokenizer, check_positive, projection
from unimodal.tokenizers.image import HALF
from unimodal.tokenizers.pixels import Normalise, cut, grid
from unimodal.types import Batch, TokenSequence, full_mask


@dataclass(frozen=True)
class AnySizePreprocess:
    """What a worker does to an image: whole patches, as many as it has.

    Attributes:
        patch_size: side of a patch.
        max_patches: a larger image shrinks to so many, keeping its shape.
        min_size: a shorter side grows to so many pixels.
        num_prefix_tokens: that the tokenizer puts before them.
    """

    patch_size: int
    max_patches: int
    min_size: int = 0
    num_prefix_tokens: int = 0
    field: str = "image"

    def image_size(self, height: int, width: int) -> tuple[int, int]:
        """What data resizes an image of this size to: the nearest whole patches."""
        p, most = self.patch_size, self.max_patches
        fitting = (most * p * p / (height * width)) ** 0.5
        scale = min(max(1.0, self.min_size / min(height, width)), fitting)
        rows, columns = (max(1, round(side * scale / p)) for side in (height, width))
        if rows * columns > most:  # by rounding, or because a strip is thinner than a patch
            rows, columns = (min(max(1, int(side * scale / p)), most) for side in (height, width))
        return min(rows, most // columns) * p, columns * p

    def __call__(self, sample: dict[str, Any]) -> dict[str, Tensor]:
        """`image` uint8 [3, H, W] -> `pixel_patches` uint8 [N, 3 * patch * patch], `patch_places` int [N, 2].

        Places are (row, column).
        """
        image, p = sample["image"], self.patch_size
        _, height, width = image.shape
        if height % p or width % p or height * width > self.max_patches * p * p:
            raise ValueError(
                f"the image has {height} x {width} pixels; whole patches of {p} x {p} were wanted, at most "
                f"max_patches={self.max_patches}."
            )
        places = grid(height // p, width // p, device=image.device)[0].long()
        return {"pixel_patches": cut(image[None], p, p)[0], "patch_places": places}

    def num_tokens(self, example: dict[str, Tensor]) -> int:
        """How many tokens an example becomes, prefix included."""
        return self.num_prefix_tokens + len(example["pixel_patches"])


class ImageAnySizeTokenizer(Tokenizer):
    """Patches of an image in its own size, each through one linear map, as `ImagePatchTokenizer`'s.

    A patch at row y and column x stands at (0, y, x).

    Args:
        dim: the shared width.
        patch_size: side of a patch.
        max_patches: larger images shrink to so many, keeping their shape; they are never cut.
        min_size: images grow until the shorter side has so many pixels; 0: only up to one patch.
        mean: per channel of pixels scaled to 0..1.
        std: likewise.
        num_prefix_tokens: learned tokens before the patches.
        learned_positions: add a learned vector for each place of a square grid that is laid over the image,
            whatever its size; it has as many places as fit into max_patches.
        fractional_positions: rotary coordinates run from -2 pi to 2 pi over height and width of every image
            instead of counting patches: a place means the same in all sizes, but not a distance.
    """

    input_key = "pixel_patches"

    def __init__(
        self,
        dim: int,
        patch_size: int = 16,
        max_patches: int = 256,
        min_size: int = 0,
        mean: tuple[float, float, float] = HALF,
        std: tuple[float, float, float] = HALF,
        num_prefix_tokens: int = 0,
        learned_positions: bool = False,
        fractional_positions: bool = False,
    ):
        check_positive(patch_size=patch_size, max_patches=max_patches)
        if learned_positions and fractional_positions:
            raise ValueError("tokenizer.learned_positions excludes tokenizer.fractional_positions.")
        self.side = isqrt(max_patches)
        super().__init__(dim, num_prefix_tokens, self.side**2 if learned_positions else 0)
        self.preprocess = AnySizePreprocess(patch_size, max_patches, min_size, num_prefix_tokens)
        self.patch_size, self.fractional_positions = patch_size, fractional_positions
        self.normalise = Normalise(mean, std)
        self.project = projection(3 * patch_size**2, dim)

    @property
    def position_grid(self) -> tuple[int, ...]:
        """Rows and columns of the grid of learned positions."""
        return self.side, self.side

    @property
    def target_size(self) -> int:
        """Channels and pixels of a patch."""
        return 3 * self.patch_size**2

    def targets(self, batch: Batch) -> Tensor:
        """The normalised pixels of each patch, [B, N, 3 * patch * patch]."""
        patches = batch["pixel_patches"].unflatten(-1, (3, self.patch_size, self.patch_size))
        return self.normalise(patches).flatten(2)

    def tokenize(self, batch: Batch) -> TokenSequence:
        """One token a patch."""
        embeds = self.project(self.targets(batch))
        given = batch.get("pixel_patches_mask")
        mask = full_mask(embeds) if given is None else given
        places = F.pad(batch["patch_places"].float(), (1, 0))  # [B, N, 3]
        tokens = TokenSequence(embeds, mask, places, padded=given is not None)
        if not self.fractional_positions:
            return tokens
        across = torch.cat((torch.zeros_like(places[..., :1]), 2 * pi * (2 * _share(tokens) - 1)), -1)
        return TokenSequence(embeds, mask, across, padded=tokens.padded)

    def position_index(self, tokens: TokenSequence) -> Tensor:
        """The place of each patch's middle in the grid of learned positions, [B, N]."""
        row, column = (_share(tokens) * self.side).long().unbind(-1)
        return (row * self.side + column) * tokens.mask


def _share(tokens: TokenSequence) -> Tensor:
    """How far down and across its image the middle of each patch lies, 0 to 1, [B, N, 2]."""
    places = tokens.positions[..., 1:]
    sizes = 1 + (places * tokens.mask[..., None]).amax(1, keepdim=True)  # rows and columns of each image
    return (places + 0.5) / sizes

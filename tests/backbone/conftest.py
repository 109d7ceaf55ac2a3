"""Small random transformers in every dialect, and random tokens for them to read."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn

from unimodal.backbone.config import BlockConfig
from unimodal.backbone.transformer import Transformer
from unimodal.types import TokenSequence

BLOCKS = Path(__file__).parents[2] / "conf" / "block"


def read_block(name: str) -> BlockConfig:
    node = yaml.safe_load((BLOCKS / f"{name}.yaml").read_text())
    del node["_target_"]
    return BlockConfig(**node)


def randomise_(module: nn.Module, scale: float = 0.2) -> nn.Module:
    """Untouched blocks are the identity, which would make most tests vacuous."""
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = scale * torch.randn(parameter.shape, generator=rng)
            parameter.copy_(1 + noise if "norm" in name and name.endswith("weight") else noise)
    return module


@pytest.fixture(params=sorted(path.stem for path in BLOCKS.glob("*.yaml")))
def dialect(request: pytest.FixtureRequest) -> BlockConfig:
    """Each dialect that ships."""
    return read_block(request.param)


@pytest.fixture
def modern() -> BlockConfig:
    return read_block("modern")


@pytest.fixture
def classic() -> BlockConfig:
    return read_block("classic")


@pytest.fixture
def randomise() -> Callable[..., nn.Module]:
    return randomise_


@pytest.fixture
def transformer() -> Callable[..., Transformer]:
    """Build a Transformer with random weights in evaluation mode."""

    def _transformer(block: BlockConfig, **knobs) -> Transformer:
        sizes = {"dim": 32, "depth": 2, "num_heads": 4}
        return randomise_(Transformer(block=block, **(sizes | knobs))).eval()

    return _transformer


@pytest.fixture
def tokens() -> Callable[..., TokenSequence]:
    """Random tokens at text positions; `lengths` is how many of each row are real, the rest is padding."""

    def _tokens(batch: int, num: int, lengths: Sequence[int] | None = None, seed: int = 0) -> TokenSequence:
        embeds = torch.randn(batch, num, 32, generator=torch.Generator().manual_seed(seed))
        real = torch.full((batch,), num) if lengths is None else torch.tensor(lengths)
        return TokenSequence(
            embeds,
            mask=torch.arange(num) < real[:, None],
            positions=text_positions(torch.arange(num)[None]),
            padded=lengths is not None,
        )

    return _tokens


def text_positions(places: Tensor) -> Tensor:
    return places.float()[..., None].expand(-1, -1, 3)

"""Small models whose blocks and heads all do something."""

from collections.abc import Callable, Iterable
from typing import Any

import lightning as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from unimodal.backbone.transformer import Transformer
from unimodal.data.vocabulary import byte_vocabulary
from unimodal.model import Unimodal
from unimodal.tasks.base import Task
from unimodal.tokenizers.image import ImagePatchTokenizer
from unimodal.tokenizers.text import TextTokenizer
from unimodal.types import Batch


@pytest.fixture
def randomise() -> Callable[[nn.Module], nn.Module]:
    """Noise on every parameter: no block stays the identity, no head stays zero."""

    def _randomise(module: nn.Module, seed: int = 0) -> nn.Module:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        return module

    return _randomise


@pytest.fixture
def text_model(randomise: Callable) -> Callable[..., Unimodal]:
    """Bytes through two blocks; keywords go to the backbone, `tokenizer` to the tokenizer."""

    def _text_model(tokenizer: dict[str, Any] | None = None, **backbone: Any) -> Unimodal:
        options = {"vocabulary": byte_vocabulary(None), "max_len": 16, **(tokenizer or {})}
        text = TextTokenizer(32, **options)
        return randomise(Unimodal({"text": text}, Transformer(32, 2, 4, **backbone)))

    return _text_model


@pytest.fixture
def image_model(randomise: Callable) -> Callable[..., Unimodal]:
    """Pictures of 8 x 8 pixels as four patches through two blocks."""

    def _image_model(num_prefix_tokens: int = 0) -> Unimodal:
        image = ImagePatchTokenizer(32, image_size=8, patch_size=4, num_prefix_tokens=num_prefix_tokens)
        return randomise(Unimodal({"image": image}, Transformer(32, 2, 4)))

    return _image_model


@pytest.fixture
def pair_model(text_model: Callable, image_model: Callable) -> Callable[..., Unimodal]:
    """Those pictures and bytes, two tokenizers before one backbone."""

    def _pair_model() -> Unimodal:
        image, text = image_model(), text_model()
        return Unimodal({"image": image.tokenizers["image"], **text.tokenizers}, image.backbone)

    return _pair_model


@pytest.fixture
def validate() -> Callable[..., dict[str, float]]:
    """The figures that Lightning gets from a task and its batches."""

    def _validate(task: Task, batches: Iterable[Batch]) -> dict[str, float]:
        trainer = L.Trainer(
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        return trainer.validate(task, DataLoader(list(batches), batch_size=None), verbose=False)[0]

    return _validate

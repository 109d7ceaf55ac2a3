"""Small models whose blocks and heads all do something."""

from collections.abc import Callable, Iterable
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from unimodal.backbone.transformer import Transformer
from unimodal.data.collate import collate
from unimodal.data.sampling import Draw
from unimodal.data.sources.base import Source
from unimodal.data.vocabulary import byte_vocabulary, letter_vocabulary
from unimodal.model import Unimodal
from unimodal.tasks.base import Task
from unimodal.tasks.captioning import Captioning
from unimodal.tasks.classification import Classification
from unimodal.tasks.contrastive import Contrastive
from unimodal.tasks.contrastive_loss import InfoNCE
from unimodal.tasks.ctc import CTC
from unimodal.tasks.decoding import Decoding
from unimodal.tasks.language_modeling import LanguageModeling
from unimodal.tasks.masked_modeling import MaskedModeling
from unimodal.tasks.masked_text import MaskedText
from unimodal.tasks.masking import Masking
from unimodal.tasks.pooling import MeanPooling
from unimodal.tasks.regression import Regression
from unimodal.tasks.segmentation import Segmentation
from unimodal.tasks.sequence_labeling import SequenceLabeling
from unimodal.tokenizers.audio import AudioFrameTokenizer
from unimodal.tokenizers.image import ImagePatchTokenizer
from unimodal.tokenizers.text import TextTokenizer
from unimodal.types import Batch, Waveform


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


@pytest.fixture
def scored(
    text_model: Callable, image_model: Callable, pair_model: Callable, randomise: Callable
) -> Callable[[str], tuple[Task, list[dict[str, Any]]]]:
    """A task by its name in test_against_scikit_learn.py, whose head is not zero, and 25 samples for it."""

    def sound_model(**more: Any) -> Unimodal:
        sizes = {"sample_rate": 800, "n_mels": 8, "window_length": 64, "hop_length": 32, "stack": 1}
        audio = AudioFrameTokenizer(32, max_seconds=5.0, mean=-6.0, std=4.0, **sizes)
        return randomise(Unimodal({"audio": audio, **more}, Transformer(32, 2, 4)))

    def make(name: str) -> Task:
        letters, eight = [*"abcdefgh"], {"class_names": [*"abcdefgh"], "pooling": MeanPooling()}
        makers: dict[str, Callable[[], Task]] = {
            "single label": lambda: Classification(text_model(), **eight),
            "multi-label": lambda: Classification(text_model(), **eight, multilabel=True),
            "regression": lambda: Regression(
                text_model(),
                ["a", "b"],
                [40.0, 1.7],
                [12.0, 0.1],
                MeanPooling(),
                nn.MSELoss(reduction="none"),
            ),
            "retrieval": lambda: Contrastive(pair_model(), MeanPooling(), InfoNCE(), projection_dim=16),
            "words in classes": lambda: SequenceLabeling(text_model(), ["O", *letters[1:]]),
            "words in spans": lambda: SequenceLabeling(text_model(), ["O", "B-X", "I-X", "B-Y", "I-Y"]),
            "segmentation": lambda: Segmentation(image_model(), letters, cells=2),
            "masked text": lambda: MaskedText(text_model(), Masking([[0]], 0.4)),
            "masked modeling": lambda: MaskedModeling(sound_model(), Masking([[0]], 0.5)),
            "language modeling": lambda: LanguageModeling(text_model(), sample_len=4),
            "transcription": lambda: CTC(sound_model(), letter_vocabulary(_Letters()), frames_per_token=3),
            "captioning": lambda: Captioning(
                sound_model(text=TextTokenizer(32, letter_vocabulary(_Letters()), max_len=16)),
                Decoding(max_new_tokens=6),
            ),
        }
        return makers[name]()

    def _scored(name: str) -> tuple[Task, list[dict[str, Any]]]:
        torch.manual_seed(0)
        task = make(name)
        randomise(getattr(task, "head", nn.Identity()))
        samples = [_sample(name, seed) for seed in range(25)]
        for rare in _RARE.get(name, []):  # hardly ever, or never, what is predicted
            task.head.bias.data[rare] -= 12.0
        if isinstance(task.eval(), CTC | Captioning):  # some texts are right
            dataset = task.examples(samples, task.preprocess, training=False)
            for index, sample in enumerate(samples[::3]):
                written = task.answer(collate([dataset[Draw(0, 3 * index)]]))[0]["text"]
                sample["text"] = written.strip().replace("\ufffd", "e")
        return task, samples

    return _scored


_RARE = {
    "single label": [3, 6],
    "multi-label": [2],
    "words in classes": [5, 6],
    "segmentation": [*range(8, 12), *range(24, 28)],  # four cells a class
    "transcription": [0, 6, 8, 14, 16, 22],  # in each of three frames the space and U+FFFD
}


class _Letters(Source):
    """What a vocabulary of letters is made of."""

    def split(self, name: str) -> list[dict[str, str]]:
        return [{"text": "abcd e"}]


def _sample(name: str, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    text = " ".join("".join(rng.choice([*"abcde"], rng.integers(1, 4))) for _ in range(rng.integers(1, 4)))
    sample: dict[str, Any] = {
        "text": text,
        "image": torch.from_numpy(rng.integers(0, 256, (3, 8, 8), np.uint8)),
        "audio": Waveform(torch.from_numpy(rng.random(300 + 170 * (seed % 7), np.float32)) - 0.5, 800),
    }
    ends = [place for place, sign in enumerate(text + " ") if sign == " "]
    words = list(zip([0, *(end + 1 for end in ends[:-1])], ends, strict=True))
    spans = ["O", "B-X", "I-X", "B-Y", "I-Y"] if name == "words in spans" else ["O", *"bcde"]
    mask = torch.from_numpy(rng.integers(0, 6, (8, 8), np.uint8))
    mask[:2] = 255
    return sample | {
        "single label": {"label": torch.tensor(seed % 5)},
        "multi-label": {"label": torch.tensor([*rng.integers(0, 2, 7), 0.0], dtype=torch.float32)},
        "regression": {"label": torch.tensor([40 + 12 * rng.normal(), 1.7 + 0.1 * rng.normal()])},
        "words in classes": {"spans": [(*word, str(rng.choice(spans))) for word in words]},
        "words in spans": {"spans": [(*word, str(rng.choice(spans))) for word in words]},
        "segmentation": {"mask": mask},
    }.get(name, {})

"""One small run of every kind that exports: what was trained, what the export is given, what it must say."""

import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
import yaml
from torch import Tensor, nn

from unimodal.data.vocabulary import byte_vocabulary
from unimodal.hub.portable.write import write_portable
from unimodal.hub.trained import Trained
from unimodal.model import Unimodal
from unimodal.tasks.base import Task
from unimodal.training.build import make, make_task

BLOCKS = Path(__file__).parents[3] / "conf" / "block"
TOKENIZERS = "unimodal.tokenizers"
POOLING = "unimodal.tasks.pooling"
EOS = 256


class Run(NamedTuple):
    """A task with random weights, what its exported model is given, and what it should answer."""

    trained: Trained
    task: Task
    auto_class: str
    inputs: dict[str, Tensor]
    expected: Tensor


def block(name: str) -> dict[str, Any]:
    return yaml.safe_load((BLOCKS / f"{name}.yaml").read_text())


def transformer(dialect: str = "modern", **knobs: Any) -> dict[str, Any]:
    sizes = {"dim": 32, "depth": 2, "num_heads": 4, "block": block(dialect)}
    return {"_target_": "unimodal.backbone.transformer.Transformer", **sizes, **knobs}


def tokenizer(name: str, **knobs: Any) -> dict[str, Any]:
    return {"_target_": f"{TOKENIZERS}.{name}", "dim": 32, **knobs}


def text(**knobs: Any) -> dict[str, Any]:
    vocabulary = byte_vocabulary(None)  # type: ignore[arg-type]  # it asks the data nothing
    return tokenizer("text.TextTokenizer", **{"vocabulary": vocabulary, "max_len": 24, **knobs})


def classification(
    pooling: str = "MeanPooling", num_tokens: int | None = None, **knobs: Any
) -> dict[str, Any]:
    node: dict[str, Any] = {"_target_": f"{POOLING}.{pooling}"}
    node |= {"num_tokens": num_tokens} if num_tokens else {}
    node |= {"dim": 32, "num_heads": 2} if pooling == "AttentionPooling" else {}
    node |= {"output_size": [2, 2, 2]} if pooling == "AdaptivePooling" else {}
    target = "unimodal.tasks.classification.Classification"
    return {"_target_": target, "class_names": ["cat", "dog", "owl"], "pooling": node, **knobs}


def regression(loss: str = "HuberLoss") -> dict[str, Any]:
    return {
        "_target_": "unimodal.tasks.regression.Regression",
        "target_names": ["age", "height"],
        "target_mean": [31.0, 1.7],
        "target_std": [12.0, 0.1],
        "pooling": {"_target_": f"{POOLING}.MeanPooling"},
        "loss": {"_target_": f"torch.nn.{loss}", "reduction": "none"},
    }


def language(**knobs: Any) -> dict[str, Any]:
    sizes = {"sample_len": 4, "temperature": 0.7, "top_k": 9, **knobs}
    return {"_target_": "unimodal.tasks.language_modeling.LanguageModeling", **sizes}


IMAGE = {"image": tokenizer("image.ImagePatchTokenizer", image_size=16, patch_size=8)}
CLASSIC_IMAGE = tokenizer("image.ImagePatchTokenizer", image_size=[16, 8], patch_size=8, num_prefix_tokens=1)
SOUND = {"sample_rate": 800, "n_mels": 16, "window_length": 64, "hop_length": 16, "max_seconds": 0.5}
CLIP = {"num_frames": 4, "image_size": 16}
TUBELETS = tokenizer(
    "video.VideoTubeletTokenizer", patch_size=8, num_prefix_tokens=1, learned_positions=True, **CLIP
)
PATCHES = tokenizer(
    "audio.AudioPatchTokenizer", patch_size=8, stride=5, num_prefix_tokens=2, learned_positions=True, **SOUND
)
FBANK = {"sample_rate": 1600, "n_mels": 16, "num_frames": 40, "patch_size": 8}

Kind = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]
KINDS: dict[str, Kind] = {
    "image_patch": (IMAGE, transformer(), classification()),
    "image_classic": (
        {"image": {**CLASSIC_IMAGE, "learned_positions": True}},
        transformer("classic"),
        classification("FirstPooling", 1, label_smoothing=0.1, class_weights=[1.0, 2.0, 0.5]),
    ),
    "image_conv": (
        {"image": tokenizer("image.ImageConvTokenizer", image_size=16)},
        transformer(num_kv_heads=2),
        classification("AttentionPooling"),
    ),
    "image_registers": (IMAGE, transformer(num_registers=3), classification(head_norm=True)),
    "image_multi_label": (
        IMAGE,
        transformer(),
        classification(multilabel=True, class_weights=[1.0, 3.0, 2.0]),
    ),
    "image_regression": (IMAGE, transformer(), regression()),
    "audio_frame": (
        {"audio": tokenizer("audio.AudioFrameTokenizer", **SOUND)},
        transformer(),
        classification("AdaptivePooling"),
    ),
    "audio_patch": (
        {"audio": PATCHES},
        transformer("classic"),
        classification("FirstPooling", 2, head_norm=True),
    ),
    "audio_spectrogram": (
        {"audio": tokenizer("audio_spectrogram.AudioSpectrogramTokenizer", **FBANK)},
        transformer("classic"),
        classification(),
    ),
    "audio_whisper": (
        {"audio": tokenizer("audio_whisper.AudioWhisperTokenizer", num_positions=6)},
        transformer("classic"),
        classification(),
    ),
    "video_tubelet": ({"video": TUBELETS}, transformer("classic"), classification("FirstPooling", 1)),
    "video_conv": (
        {"video": tokenizer("video.VideoConvTokenizer", num_layers=2, **CLIP)},
        transformer(),
        classification("AdaptivePooling", head_norm=True),
    ),
    "text_classification": (
        {"text": text()},
        transformer(),
        classification("LastPooling", causal=True, head_bias=False),
    ),
    "text_classic": ({"text": text(learned_positions=True)}, transformer("classic"), classification()),
    "joint": (
        {**IMAGE, "text": text(), "audio": tokenizer("audio.AudioFrameTokenizer", **SOUND)},
        transformer(),
        classification(),
    ),
    "language": ({"text": text()}, transformer(), language()),
    "language_tied": (
        {"text": text(learned_positions=True)},
        transformer("classic"),
        language(tied=True, temperature=0.0),
    ),
    "language_registers": ({"text": text()}, transformer(num_registers=2, num_kv_heads=2), language()),
    "language_window": (
        {"text": text()},
        transformer(layer_types=["sliding", "full"], window=3),
        language(top_k=None, top_p=None),
    ),
}
OWN_TOKENIZER = '''"""Pictures as rows of pixels."""

import math

import torch
from torch import nn
from unimodal.tokenizers.base import Tokenizer, projection
from unimodal.tokenizers.image import ImagePreprocess
from unimodal.tokenizers.pixels import grid
from unimodal.types import Batch, TokenSequence, full_mask


class RowTokenizer(Tokenizer):
    """One token a row."""

    input_key = "pixel_values"

    def __init__(self, dim: int, width: int = 16):
        super().__init__(dim)
        self.preprocess = ImagePreprocess((width, width))
        self.scale = math.sqrt(width)
        self.project = projection(3 * width, dim)

    def tokenize(self, batch: Batch) -> TokenSequence:
        """[B, 3, H, W] -> H tokens."""
        embeds = self.project(batch["pixel_values"].transpose(1, 2).flatten(2) / self.scale)
        return TokenSequence(embeds, full_mask(embeds), grid(1, 1, embeds.shape[1], device=embeds.device))
'''

AUTO = {"image": "Image", "audio": "Audio", "video": "Video", "text": "Sequence"}


def inputs_of(tokenizers: dict[str, Any], seed: int = 0) -> dict[str, Tensor]:
    """A batch of three as stock processors name it; sounds and texts are padded."""
    rng = torch.Generator().manual_seed(seed)
    inputs: dict[str, Tensor] = {}
    if "audio" in tokenizers:
        mask = torch.arange(900) < torch.tensor([900, 380, 130])[:, None]
        inputs["input_values"] = (2 * torch.rand(3, 900, generator=rng) - 1) * mask
        inputs["input_values_mask" if "text" in tokenizers else "attention_mask"] = mask.long()
    if "text" in tokenizers:
        inputs["input_ids"] = torch.randint(256, (3, 10), generator=rng)
        inputs["attention_mask"] = (torch.arange(10) < torch.tensor([10, 7, 4])[:, None]).long()
    if "image" in tokenizers:
        size = tokenizers["image"].get("image_size", 16)
        height, width = size if isinstance(size, list) else (size, size)
        inputs["pixel_values"] = torch.randn(3, 3, height, width, generator=rng)
    if "video" in tokenizers:
        inputs["pixel_values"] = torch.randn(3, 4, 3, 16, 16, generator=rng)
    return inputs


def as_batch(tokenizers: dict[str, Any], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same in the names of our own batches, cut as training cuts it."""
    batch = dict(inputs)
    if "video" in tokenizers:
        batch["pixel_values_videos"] = batch.pop("pixel_values")
    if "audio" in tokenizers:
        mask = batch.pop("input_values_mask" if "text" in tokenizers else "attention_mask")
        longest = make(tokenizers["audio"]).preprocess
        cut = round(longest.max_seconds * longest.sample_rate)
        batch["input_values"] = batch["input_values"][:, :cut]
        batch["input_values_mask"] = mask[:, :cut].bool()
    return batch


def randomise(module: nn.Module) -> None:
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=rng))


@torch.no_grad()
def answer(task: Task, batch: dict[str, Tensor]) -> Tensor:
    """What the run itself makes of a batch."""
    if task.generates:
        tokens: Any = task.model(batch, causal=True)
        return task.head(tokens.embeds)  # type: ignore[operator]
    logits: Tensor = task._logits(task.vectors(batch))  # type: ignore[operator]
    numbers = type(task).__name__ == "Regression"
    return task.predict(logits) if numbers else logits  # type: ignore[operator]


@cache
def make_run(name: str) -> Run:
    return run_of(*KINDS[name])


def run_of(tokenizers: dict[str, Any], backbone: dict[str, Any], node: dict[str, Any]) -> Run:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if len(tokenizers) == 1:
            (one,) = tokenizers.values()
            task = make_task({"tokenizer": one, "backbone": backbone, "task": node})
        else:
            parts = {field: make(one) for field, one in tokenizers.items()}
            task = make(node, model=Unimodal(parts, make(backbone)))
    randomise(task)
    task.eval()
    inputs = inputs_of(tokenizers)
    first = next(iter(tokenizers))
    auto_class = "AutoModelForCausalLM" if task.generates else f"AutoModelFor{AUTO[first]}Classification"
    expected = answer(task, as_batch(tokenizers, inputs))
    return Run(Trained(backbone, tokenizers, node, task.state_dict()), task, auto_class, inputs, expected)


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def run() -> Callable[[str], Run]:
    """The run of a kind, made once."""
    return make_run


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a kind, written once."""

    @cache
    def _exported(name: str) -> Path:
        folder = tmp_path_factory.mktemp("exports") / f"my-{name}.v1"
        folder.mkdir()
        write_portable(folder, make_run(name).trained)
        return folder

    return _exported


@pytest.fixture(scope="session")
def own_tokenizer() -> str:
    """The source of a module that somebody wrote outside of unimodal."""
    return OWN_TOKENIZER


@pytest.fixture(scope="module")
def own_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run with that tokenizer; its module is on the path only here."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "rows_of_mine.py").write_text(OWN_TOKENIZER)
    sys.path.insert(0, str(folder))
    node = {"_target_": "rows_of_mine.RowTokenizer", "dim": 32}
    yield run_of({"image": node}, transformer(), classification())
    sys.path.remove(str(folder))


@pytest.fixture(scope="session")
def nodes() -> SimpleNamespace:
    """What small models are made of."""
    return SimpleNamespace(
        image=IMAGE,
        sound={"audio": tokenizer("audio.AudioFrameTokenizer", **SOUND)},
        text=text,
        transformer=transformer,
        inputs_of=inputs_of,
        as_batch=as_batch,
    )


@pytest.fixture(scope="session")
def built() -> Callable[..., tuple[Any, Trained]]:
    """A task with random weights of tokenizers, backbone and task, and the same as plain data."""

    def _built(tokenizers: dict[str, Any], backbone: dict[str, Any], node: dict[str, Any]) -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            parts = {field: make(one) for field, one in tokenizers.items()}
            task = make(node, model=Unimodal(parts, make(backbone)))
        randomise(task)
        return task.eval(), Trained(backbone, tokenizers, node, task.state_dict())

    return _built


@pytest.fixture(scope="session")
def kinds() -> list[str]:
    return sorted(KINDS)

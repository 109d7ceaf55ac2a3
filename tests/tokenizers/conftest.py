"""Every tokenizer that ships, built small from its yaml, and samples for it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hydra.utils import instantiate
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import models, pre_tokenizers
from torch import Tensor, nn

from unimodal.data.collate import collate
from unimodal.data.sources.base import Source
from unimodal.tokenizers.base import Tokenizer
from unimodal.types import Batch, Sample, Waveform

YAMLS = sorted((Path(__file__).parents[2] / "conf" / "tokenizer").glob("*.yaml"))
SMALL: dict[str, dict[str, Any]] = {
    "text": {"max_len": 64},
    "image": {"image_size": 32, "max_patches": 16},
    "audio": {"max_seconds": 1.0, "num_frames": 100, "num_positions": 20},
    "video": {"image_size": 32, "num_frames": 4},
}
OF_ANY_LENGTH = ("text", "audio")  # modalities whose inputs are padded
TEXTS = ["the cat sat on the mat.", "a naïve café, ünïcode & <tags>", "def f(x): return x + 1\n\n\tend"]


class Texts(Source):
    """A source of a few texts."""

    def split(self, name: str) -> list[Sample]:
        assert name == "train"
        return [{"text": text} for text in TEXTS]


def tiny_tokenizer_json(folder: Path) -> str:
    """A word tokenizer as a user may have it, with a hole in its ids."""
    words = {word: i for i, word in enumerate(["<unk>", "<s>", "</s>", "x"])} | {"the": 7, "cat": 9}
    fast = FastTokenizer(models.WordLevel(words, unk_token="<unk>"))
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    path = folder / "tokenizer.json"
    fast.save(str(path))
    return str(path)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A contract runs over every yaml; one about padding over those whose inputs differ in length."""
    if "config_path" in metafunc.fixturenames:
        paths = [
            p for p in YAMLS if modality(p) in OF_ANY_LENGTH or "padded_lengths" not in metafunc.fixturenames
        ]
        metafunc.parametrize("config_path", paths, ids=[path.stem for path in paths])


def modality(path: Path) -> str:
    return path.stem.partition("_")[0]


@pytest.fixture
def tokenizer(config_path: Path, tmp_path: Path) -> Callable[..., Tokenizer]:
    """Build the tokenizer of one yaml with some of its values changed."""
    return lambda **changes: build(config_path, tmp_path, **changes)


@pytest.fixture
def named_tokenizer(tmp_path: Path) -> Callable[..., Tokenizer]:
    """Build the tokenizer of the yaml so called."""
    return lambda name, **changes: build(next(p for p in YAMLS if p.stem == name), tmp_path, **changes)


def build(path: Path, folder: Path, **changes: Any) -> Tokenizer:
    node = yaml.safe_load(path.read_text())
    small = {"dim": 32} | SMALL[modality(path)]
    node |= {key: value for key, value in small.items() if key in node} | changes
    if "vocabulary" in node and node["vocabulary"].get("_partial_"):
        if node["vocabulary"].get("path") == "???":
            node["vocabulary"] |= {"path": tiny_tokenizer_json(folder), "eos_token": "</s>"}
        node["vocabulary"] = instantiate(node["vocabulary"], _convert_="all")(Texts())
    torch.manual_seed(0)
    return randomise_(instantiate(node, _convert_="all"))


def randomise_(module: nn.Module) -> nn.Module:
    """Tables of positions, prefixes and embeddings start small: make them count."""
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=rng))
    return module


@pytest.fixture
def randomise() -> Callable[[nn.Module], nn.Module]:
    return randomise_


def make_sample(tokenizer: Tokenizer, length: int, seed: int = 0) -> Sample:
    """A random sample of the modality; `length` counts words or audio samples."""
    rng, preprocess = torch.Generator().manual_seed(seed), tokenizer.preprocess
    match preprocess.field:
        case "text":
            words = [["the", "cat", "x"][i] for i in torch.randint(3, (min(length, 200),), generator=rng)]
            return {"text": " ".join(words)}
        case "audio":
            samples = torch.rand(length, generator=rng) - 0.5
            return {"audio": Waveform(samples, preprocess.sample_rate)}
        case "image":
            size = preprocess.image_size
            shape = (3, *(size(32, 32) if callable(size) else size))
            return {"image": torch.randint(256, shape, generator=rng, dtype=torch.uint8)}
        case "video":
            shape = (preprocess.num_frames, 3, *preprocess.image_size)
            return {"video": torch.randint(256, shape, generator=rng, dtype=torch.uint8)}
    raise NotImplementedError(f"make a sample for {preprocess.field}")


@pytest.fixture
def sample() -> Callable[..., Sample]:
    return make_sample


@pytest.fixture
def batch_of() -> Callable[[Tokenizer, Sequence[int]], Batch]:
    """A batch with one random sample of each length, as data makes it."""

    def _batch_of(tokenizer: Tokenizer, lengths: Sequence[int]) -> Batch:
        samples = [make_sample(tokenizer, length, seed) for seed, length in enumerate(lengths)]
        return collate([tokenizer.preprocess(sample) for sample in samples])

    return _batch_of


@pytest.fixture
def padded_lengths() -> Callable[[Tokenizer], list[int]]:
    """Awkward lengths of samples, for a tokenizer whose inputs have any."""

    def _padded_lengths(tokenizer: Tokenizer) -> list[int]:
        match tokenizer.preprocess.field:
            case "text":
                return [1, 2, 3, 7, 12]
            case "audio":  # around the edges of a frame (160), a stack (640) and a patch (2400, 4000)
                return [1, 159, 160, 161, 399, 479, 480, 481, 2399, 2400, 2559, 2560, 3999, 4000, 4160, 9001]
        raise NotImplementedError(f"name lengths for {tokenizer.preprocess.field}")

    return _padded_lengths


@pytest.fixture
def with_junk() -> Callable[[Batch], Batch]:
    """The batch with something else in its padding."""

    def _with_junk(batch: Batch) -> Batch:
        rng, dirty = torch.Generator().manual_seed(5), dict(batch)
        if "attention_mask" in batch:
            junk = torch.randint(3, batch["input_ids"].shape, generator=rng)
            dirty["input_ids"] = where_padded(batch["attention_mask"], batch["input_ids"], junk)
        if "input_values_mask" in batch:
            junk = 1e4 * torch.randn(batch["input_values"].shape, generator=rng)
            dirty["input_values"] = where_padded(batch["input_values_mask"], batch["input_values"], junk)
        return dirty

    return _with_junk


def where_padded(real: Tensor, values: Tensor, junk: Tensor) -> Tensor:
    return torch.where(real.bool(), values, junk)

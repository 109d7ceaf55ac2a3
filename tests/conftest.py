"""What tests of several folders share."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from PIL import Image

from unimodal.training import schema

SMALL = (
    "backbone.dim=32",
    "backbone.depth=2",
    "backbone.num_heads=2",
    "trainer=cpu",
    "trainer.precision=32-true",
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny models gain nothing by threads, and sums are then taken in one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Decoded media go to a folder of the test, not to the user's."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("UNIMODAL_CACHE", str(folder))
    return folder


@pytest.fixture
def configure() -> Iterator[Callable[..., dict[str, Any]]]:
    """Compose a verb's config from overrides, as the command line does; plain and resolved."""
    schema.register()
    OmegaConf.register_new_resolver("run_suffix", lambda: "test", replace=True)

    def _configure(*overrides: str, verb: str = "train") -> dict[str, Any]:
        with initialize_config_module("unimodal.conf", version_base="1.3"):
            cfg = compose(verb, overrides=list(overrides))
        config = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=False)
        assert isinstance(config, dict)
        return {str(key): value for key, value in config.items()}

    yield _configure


@pytest.fixture
def small_run(configure: Callable[..., dict[str, Any]], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The config of a run of a few seconds, into tmp_path/run unless an override says otherwise."""

    def _small_run(*overrides: str) -> dict[str, Any]:
        return configure(*SMALL, f"output={tmp_path / 'run'}", "debug=fast", "logger=csv", *overrides)

    return _small_run


def _clip(path: Path, seed: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for i in range(8):
            pixels = np.full((32, 32, 3), (20 * seed + 9 * i) % 256, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode())


@pytest.fixture
def recipe_data(tmp_path: Path) -> Callable[[str], Path]:
    """What a recipe is for, in small: from its name to data.path."""

    def _recipe_data(option: str) -> Path:
        folder = tmp_path / option
        folder.mkdir()
        if option == "characters":
            (folder / "input.txt").write_text("a text of some characters. " * 40)
            return folder / "input.txt"
        rng = np.random.default_rng(0)
        for i in range(16):
            place = folder / "ab"[i % 2]
            place.mkdir(exist_ok=True)
            if option == "photos":
                Image.fromarray(rng.integers(0, 255, (40, 50, 3), np.uint8)).save(place / f"{i}.jpg")
            elif option in ("sounds", "speech"):
                soundfile.write(place / f"{i}.wav", rng.normal(0, 0.1, 9000), 16_000)
            elif option == "clips":
                _clip(place / f"{i}.mp4", i)
        (folder / "d.csv").write_text(
            "\n".join(["text,label", *(f"sentence {i},{i % 2}" for i in range(16))])
        )
        if option == "speech":
            rows = (f"{'ab'[i % 2]}/{i}.wav,{'ab'[i % 2]}" for i in range(16))
            (folder / "d.csv").write_text("\n".join(["file,text", *rows]))
        return folder / "d.csv" if option in ("sentences", "speech") else folder

    return _recipe_data

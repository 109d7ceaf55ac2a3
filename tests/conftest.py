"""What tests of several folders share."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

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

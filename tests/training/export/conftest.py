"""Small runs and their exports, each made once, and what a process without unimodal says of the folders."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from unimodal.data.collate import collate
from unimodal.data.sampling import Draw
from unimodal.data.windows import TokenWindows
from unimodal.tasks.base import Task
from unimodal.training import build, checkpoints
from unimodal.training.export.examples import as_array, examples, tensors
from unimodal.training.export.export import export
from unimodal.training.train import train

STRANGER = Path(__file__).with_name("stranger.py")
BATCH, WINDOWS, NUM_NEW = 64, 100, 24
EVERYTHING = 1_000_000
PROMPTS = ["The ", "An expression list", "If the object is a class instance, then"]

SMALL = (
    "backbone.dim=32",
    "backbone.depth=2",
    "backbone.num_heads=2",
    "trainer=cpu",
    "trainer.precision=32-true",
    "debug=fast",
    "trainer.max_steps=100",
    "trainer.limit_train_batches=100",
    "trainer.limit_val_batches=null",  # metrics.json is of the whole held-out part
    "loader.batch_size=16",
    "optimizer.lr=0.003",
    "scheduler=constant",
    "augment=none",
    "block.residual_init=normal",  # blocks that do something from the first step on
    "logger=csv",
)
FEW = (
    "data.train_size=32",
    "data.val_size=48",
    "trainer.max_epochs=50",
    "trainer.check_val_every_n_epoch=50",
)
TONES = ("modality=audio", *FEW)  # known by heart in seconds, so that no two answers are the same
CLIPS = ("modality=video", *FEW)
TEXT = ("modality=text", "tokenizer.max_len=64", "task.sample_len=16")
PASSAGES = ("modality=text", "data=reference_passages", "task=classification", "tokenizer.max_len=48")
LAST = ("task.causal=true", "task/pooling=last", "task.head_bias=false")
VIDEOMAE = (
    "tokenizer.num_prefix_tokens=0",
    "tokenizer.learned_positions=false",
    "tokenizer.sincos_positions=true",
    "backbone.final_norm=false",
    "task/pooling=mean",
    "task.head_norm=true",
)
RUNS = {
    "image": ("block=classic",),
    "audio": (*TONES, "block=classic"),
    "video": (*CLIPS, "block=classic"),
    "videomae": (*CLIPS, "block=classic", *VIDEOMAE),
    "text": (*TEXT, "block=classic"),
    "modern_image": (),
    "modern_audio": TONES,
    "modern_video": CLIPS,
    "modern_text": TEXT,
    "passages": PASSAGES,
    "causal_passages": (*PASSAGES, *LAST),
    "classic_causal_passages": (*PASSAGES, *LAST, "block=classic"),
}

NATIVE = ("image", "audio", "video", "text", "modern_text")


class HeldOut(NamedTuple):
    """All held-out samples as users have them, and what the run says of each: [N, C]."""

    samples: list[Any]
    outputs: Tensor
    labels: Tensor


class Run(NamedTuple):
    """A finished run."""

    path: Path
    task: Task
    config: dict[str, Any]
    figures: dict[str, float]

    @property
    def field(self) -> str:
        return next(iter(self.task.model.tokenizers))

    @property
    def preprocess(self) -> Any:
        tokenizer: Any = self.task.model.tokenizers[self.field]
        return tokenizer.preprocess


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[Any, Any]]:
    return tmp_path_factory.mktemp("runs"), {}


@pytest.fixture
def trained(configure, shelf) -> Callable[..., Run]:
    """The run of a name in RUNS, or a new one: what it is `like`, if anything, and more overrides."""
    folder, made = shelf

    def _trained(name: str, *overrides: str, like: str = "") -> Run:
        if name not in made:
            path = folder / name
            settings = RUNS.get(like or name, ())
            train(configure(*SMALL, *settings, *overrides, f"output={path}"), path)
            config, weights = checkpoints.load(path)
            task = build.restore_task(config, weights, merged=True).eval()
            made[name] = Run(path, task, config, json.loads((path / "metrics.json").read_text()))
        return made[name]

    return _trained


@pytest.fixture
def exported(configure, trained, shelf) -> Callable[..., Path]:
    """The folder of a run, as `unimodal export` writes it."""
    folder, made = shelf

    def _exported(name: str, *overrides: str) -> Path:
        key = (name, *overrides)
        if key not in made:
            output = folder / "-".join(("export", *key)).replace("=", ".").replace("/", ".")
            checkpoint = f"checkpoint={trained(name).path}"
            settings = (checkpoint, f"output={output}", "num_metric_samples=0", *overrides)
            made[key] = export(configure(*settings, verb="export"))
        return made[key]

    return _exported


@pytest.fixture
def refused(configure, trained, tmp_path) -> Callable[..., str]:
    """The sentence with which an export is refused; nothing is left behind."""

    def _refused(name: str, *overrides: str) -> str:
        output = tmp_path / "folder"
        settings = (
            f"checkpoint={trained(name).path}",
            f"output={output}",
            "num_metric_samples=0",
            *overrides,
        )
        config = configure(*settings, verb="export")
        with pytest.raises(ValueError) as error:
            export(config)
        assert not list(tmp_path.iterdir())
        return str(error.value)

    return _refused


@pytest.fixture(scope="session")
def held_out() -> Callable[[Run], HeldOut]:
    """What a classifier or regression says of its whole held-out part."""

    @torch.no_grad()
    def _held_out(run: Run) -> HeldOut:
        samples, note = examples(run.config, run.field, run.preprocess, EVERYTHING)
        assert not note
        rows = [{k: v[0] for k, v in tensors(one, run.field, run.preprocess).items()} for one in samples]
        batches = [collate(rows[i : i + BATCH]) for i in range(0, len(rows), BATCH)]
        outputs = torch.cat([run.task.outputs(batch) for batch in batches])
        labels = build.make_source(run.config).split_labels("val")
        arrays = [as_array(one, run.field) for one in samples]
        given = [str(one) for one in arrays] if run.field == "text" else list(map(torch.from_numpy, arrays))
        return HeldOut(given, outputs, torch.stack([torch.as_tensor(label) for label in labels]))

    return _held_out


@pytest.fixture(scope="session")
def windows() -> Callable[[Run], list[Tensor]]:
    """The held-out part of a language model as it is evaluated: int [B, N + 1]."""

    def _windows(run: Run) -> list[Tensor]:
        rows = build.make_source(run.config).split("val")
        dataset = TokenWindows(rows, run.preprocess, run.preprocess.max_len)
        ids = [dataset[Draw(epoch=0, index=index)]["input_ids"] for index in range(len(dataset))]
        whole = [torch.stack(ids[:-1][i : i + WINDOWS]) for i in range(0, len(ids) - 1, WINDOWS)]
        return [*whole, ids[-1][None]]

    return _windows


@pytest.fixture(scope="session")
def greedily() -> Callable[[Run], list[str]]:
    """How the run itself continues the prompts, taking the likeliest token."""

    def _greedily(run: Run) -> list[str]:
        task: Any = run.task
        task.sampling = {"temperature": 0.0, "top_k": None, "top_p": None}
        return task.complete(PROMPTS, NUM_NEW)

    return _greedily


@pytest.fixture
def job(trained, held_out, windows) -> Callable[..., dict[str, Any]]:
    """What a stranger is asked about a folder of a run: everything about its held-out part."""

    def _job(name: str, folder: Path, kind: str = "") -> dict[str, Any]:
        run, config = trained(name), json.loads((folder / "config.json").read_text())
        writes = type(run.task).__name__ == "LanguageModeling"
        asked: dict[str, Any] = {"folder": str(folder), "field": run.field, "kind": kind or "classify"}
        asked["trust_remote_code"] = "auto_map" in config
        asked["class_name"] = config["architectures"][0]
        if "auto_map" in config:
            [asked["class_name"]] = [name for name in config["auto_map"] if "AutoModelFor" in name]
        if run.field == "audio":
            asked["sample_rate"] = run.preprocess.sample_rate
        if not writes:
            return asked | {"samples": held_out(run).samples}
        texts = [row["text"] for row in build.make_source(run.config).split("val")]
        asked |= {"kind": kind or "write", "samples": texts, "prompts": PROMPTS, "num_new": NUM_NEW}
        return asked | {"windows": windows(run)}

    return _job


@pytest.fixture
def ask(tmp_path) -> Callable[..., dict[str, Any]]:
    """The answers of a process without unimodal to jobs by name; `site` has packages that come first."""

    def _ask(jobs: dict[str, dict[str, Any]], site: Path | None = None) -> dict[str, Any]:
        request, answers = tmp_path / "request.pt", tmp_path / "answers.pt"
        torch.save(jobs, request)
        command = [
            sys.executable,
            "-I",
            str(STRANGER),
            str(request),
            str(answers),
            *([str(site)] if site else []),
        ]
        environment = os.environ | {"HF_MODULES_CACHE": str(tmp_path / "modules")}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return torch.load(answers)

    return _ask


@pytest.fixture
def native(exported, job, ask, shelf) -> dict[str, Any]:
    """What a stranger says of the stock models; all in one process, which takes its time to start."""
    _, made = shelf
    if "native" not in made:
        made["native"] = ask({name: job(name, exported(name)) for name in NATIVE})
    return made["native"]


@pytest.fixture(scope="session")
def difference() -> Callable[[Any, Any], float]:
    """The largest of all; nan where there is one."""

    def _difference(a: Any, b: Any) -> float:
        a, b = (torch.as_tensor(np.asarray(one)) for one in (a, b))
        assert a.shape == b.shape
        return float((a.double() - b.double()).abs().max())

    return _difference

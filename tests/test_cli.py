"""The command line as users meet it: what they type wrong, their own files, sweeps, several processes."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from unimodal import cli
from unimodal.application import run

ROOT = Path(__file__).parents[1]
TINY = ("debug=fast", "backbone.dim=32", "backbone.depth=1", "backbone.num_heads=2", "logger=csv")


@pytest.fixture(autouse=True)
def unchanged_process(monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setattr(sys, "argv", ["unimodal"])
    monkeypatch.setattr(sys, "path", list(sys.path))


def _command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "unimodal", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (
            "modality=imag",
            "modality has no option imag; did you mean image? It has all, audio, image, joint, mixed, text,",
        ),
        ("optimzer.lr=1", "there is no key optimzer; did you mean optimizer?"),
        ("optimizer.lrr=1", "there is no key optimizer.lrr; did you mean optimizer.lr?"),
        ("optimizer.lr=abc", "Value 'abc' of type 'str' could not be converted to Float"),
        (
            "callbacks.last.every_n_train_steps=5",
            "callbacks.last.every_n_train_steps is not in the config yet; add it with a plus: "
            "+callbacks.last.every_n_train_steps=5",
        ),
        (
            "task.class_weights.scheme={eight:5}",
            "names the class 'eight', which the data does not have. The classes are 0, 1,",
        ),
        ("max_step=3", "there is no key max_step; did you mean trainer.max_steps?"),
        ("trainer.max_step=3", "did you mean trainer.max_steps?"),
        ("data.batch_size=3", "did you mean loader.batch_size?"),
        ("loader.batch_size=many", "could not be converted to Integer"),
        ("seed=x", "could not be converted to Integer"),
        ("trainer=gpus", "trainer has no option gpus; did you mean gpu?"),
        ("tokenizer.patch_size=5", "tokenizer.image_size=32 is not a multiple of tokenizer.patch_size=5."),
        ("backbone.num_heads=3", "backbone.dim=128 is not a multiple of backbone.num_heads=3."),
        ("task=language_modeling", "language modeling needs a text tokenizer; choose modality=text."),
        ("tokenizer=text_byte", 'the samples have no "text"'),
        ("loader.batch_size=100000", "lower loader.batch_size"),
        ("trainer.max_epochs=null", "set trainer.max_epochs or trainer.max_steps"),
    ],
)
def test_a_mistake_ends_in_one_sentence_that_says_what_to_do(tmp_path, capsys, typed, said):
    assert run("train", [typed, f"output={tmp_path / 'run'}"]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_a_wrong_checkpoint_is_named(tmp_path, capsys):
    assert run("evaluate", [f"checkpoint={tmp_path}"]) == 1
    assert "is no checkpoint and no run folder" in capsys.readouterr().err


def test_evaluate_without_a_checkpoint_says_what_is_missing(capsys):
    assert run("evaluate", []) == 1
    assert "checkpoint" in capsys.readouterr().err


def test_an_unknown_verb_is_answered_with_the_nearest(capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main(["trian"])
    assert exit.value.code == 2
    assert "did you mean train?" in capsys.readouterr().err


def test_doctor_finds_nothing_wrong_here(capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main(["doctor"])
    said = capsys.readouterr().out
    assert exit.value.code == 0, said
    assert re.search(r"torch +2\.", said)
    assert "soundfile" in said


COLUMNS = '''
"""Digits read column by column: a modality of one's own."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unimodal.tokenizers.base import Tokenizer, projection
from unimodal.types import TokenSequence, full_mask


@dataclass(frozen=True)
class ColumnsPreprocess:
    field: str = "image"
    image_size: tuple[int, int] = (8, 8)

    def __call__(self, sample: dict[str, Any]) -> dict[str, Tensor]:
        return {"columns": sample["image"][0].T.float() / 255}


class ColumnTokenizer(Tokenizer):
    input_key = "columns"

    def __init__(self, dim: int):
        super().__init__(dim)
        self.preprocess = ColumnsPreprocess()
        self.project = projection(8, dim)

    def tokenize(self, batch):
        embeds = self.project(batch["columns"])
        place = torch.arange(embeds.shape[1], device=embeds.device, dtype=torch.float32)
        return TokenSequence(embeds, full_mask(embeds), place[None, :, None].expand(1, -1, 3), padded=False)
'''

PARITY = '''
"""Is the digit odd? A task of one's own."""

import torch.nn.functional as F
from torch import nn

from unimodal.data.examples import Examples, label_of
from unimodal.tasks.base import Output, Task
from unimodal.tasks.pooling import MeanPooling
from unimodal.types import IGNORED


class Parity(Task):
    def __init__(self, model):
        super().__init__(model)
        self.pooling, self.head = MeanPooling(), nn.Linear(model.backbone.dim, 1)

    @staticmethod
    def examples(samples, preprocess, training, augment=None, seed=0):
        return Examples(samples, preprocess, augment, seed, label_of)

    def forward(self, batch):
        tokens = self.model(batch)
        logits, counted = self.head(self.pooling(tokens))[:, 0].float(), batch["labels"] != IGNORED
        loss = F.binary_cross_entropy_with_logits(logits, (batch["labels"] % 2).float(), reduction="none")
        return Output((loss * counted).sum() / counted.sum().clamp_min(1), counted.sum(), logits, tokens)
'''


@pytest.fixture
def own_folder(tmp_path) -> Path:
    folder = tmp_path / "my-folder"
    for path, text in {
        "own_columns.py": COLUMNS,
        "tokenizer/columns.yaml": "_target_: own_columns.ColumnTokenizer\ndim: ${backbone.dim}\n",
        "own_parity.py": PARITY,
        "task/parity.yaml": "_target_: own_parity.Parity\n",
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def test_a_new_modality_is_one_file_and_one_yaml(own_folder, tmp_path, capsys):
    overrides = [*TINY, "tokenizer=columns", f"output={tmp_path / 'run'}"]
    assert run("train", ["--config-dir", str(own_folder), *overrides]) == 0, capsys.readouterr().err
    assert (tmp_path / "run/metrics.json").exists()
    assert run("evaluate", [f"checkpoint={tmp_path / 'run'}"]) == 1
    assert "name the folder of its yaml with --config-dir" in capsys.readouterr().err
    assert run("evaluate", ["--config-dir", str(own_folder), f"checkpoint={tmp_path / 'run'}"]) == 0


def test_a_new_task_is_one_file_and_one_yaml(own_folder, tmp_path, capsys):
    overrides = [*TINY, "task=parity", f"output={tmp_path / 'run'}"]
    assert run("train", [f"--config-dir={own_folder}", *overrides]) == 0, capsys.readouterr().err
    figures = json.loads((tmp_path / "run/metrics.json").read_text())
    assert 0 < figures["val/loss"] < 5


def test_a_sweep_gives_each_job_its_own_folder(tmp_path):
    overrides = [*TINY, "optimizer.lr=1e-3,3e-3", f"output={tmp_path / 'sweep'}"]
    assert run("train", ["--multirun", *overrides]) == 0
    rates = []
    for job in ("0", "1"):
        folder = tmp_path / "sweep" / job
        assert (folder / "metrics.json").exists()
        assert (folder / "checkpoints/best.ckpt").exists()
        rates.append(re.search(r"lr: (\S+)", (folder / "config.yaml").read_text())[1])
    assert rates == ["0.001", "0.003"]
    assert sorted(p.name for p in (tmp_path / "sweep").iterdir()) == ["0", "1", "multirun.yaml"]


def test_two_runs_at_once_have_two_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert run("train", [*TINY]) == 0
    assert len(list((tmp_path / "runs").iterdir())) == 2


@pytest.mark.slow
@pytest.mark.parametrize(("trainer", "optimizer"), [("ddp", "adamw"), ("fsdp", "adamw"), ("fsdp", "muon")])
def test_two_processes_train_as_one_with_the_whole_batch(tmp_path, trainer, optimizer):
    settings = (
        *TINY,
        f"optimizer={optimizer}",
        "trainer.precision=32-true",
        "trainer.accelerator=cpu",
        "trainer.max_steps=8",
        "augment=image",
    )
    one = _command("train", *settings, "loader.batch_size=16", "output=one", cwd=tmp_path)
    assert one.returncode == 0, one.stderr
    devices = (f"trainer={trainer}", "trainer.devices=2", "loader.batch_size=8", "output=two")
    two = _command("train", *settings, *devices, cwd=tmp_path)
    assert two.returncode == 0, two.stderr
    states = [
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("one", "two")
    ]
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.slow
def test_a_sweep_with_two_processes_a_job_runs_each_job_once(tmp_path):
    devices = ("trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu")
    done = _command("train", "--multirun", *TINY, *devices, "seed=1,2", "output=sweep", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert all((tmp_path / "sweep" / job / "metrics.json").exists() for job in ("0", "1"))
    assert done.stdout.count("training Classification") == 2


def _readme_commands() -> list[str]:
    lines = (ROOT / "README.md").read_text().splitlines()
    commands = [line.split("  #")[0].strip() for line in lines if line.startswith("    unimodal ")]
    assert len(commands) > 10
    return commands


@pytest.fixture
def own_data(tmp_path):
    """What the README calls photos, more, new-photos, questions.csv and NAME_OR_FOLDER."""
    rng = np.random.default_rng(0)
    for folder in ("photos/daisy", "photos/rose", "more/tulip", "more/rose", "new-photos"):
        (tmp_path / folder).mkdir(parents=True)
        for i in range(40):
            pixels = rng.integers(0, 255, (20, 20, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{i}.png")
    rows = [f"{'who' if i % 2 else 'where'} is it {i},{'ab'[i % 2]}" for i in range(80)]
    (tmp_path / "questions.csv").write_text("\n".join(["text,label", *rows]))
    sounds = [{"array": rng.normal(0, 0.1, 4000).tolist(), "sampling_rate": 8000} for _ in range(40)]
    columns = {"audio": sounds, "label": [i % 2 for i in range(40)]}
    datasets.Dataset.from_dict(columns).save_to_disk(tmp_path / "NAME_OR_FOLDER")


@pytest.mark.slow
@pytest.mark.timeout(1800)  # some thirty commands
def test_every_command_of_the_readme_runs(own_folder, own_data, tmp_path):
    for command in _readme_commands():
        arguments = command.split()[1:]
        if arguments[0] in ("train", "check-data"):
            arguments = arguments if "debug=fast" in arguments else [*arguments, "debug=fast"]
        done = _command(*arguments, cwd=tmp_path)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.slow
def test_the_wheel_trains_from_any_folder(tmp_path):
    source, wheels, site = tmp_path / "source", tmp_path / "wheels", tmp_path / "site"
    shutil.copytree(
        ROOT, source, symlinks=True, ignore=shutil.ignore_patterns(".git", "build", "*.egg-info", "runs")
    )
    pip = (sys.executable, "-m", "pip")
    subprocess.run([*pip, "wheel", "--no-deps", "-w", wheels, source], check=True, capture_output=True)
    [wheel] = wheels.glob("unimodal-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", site, wheel], check=True, capture_output=True)
    code = "import unimodal, sys; sys.exit(0 if unimodal.__file__.startswith(sys.argv[1]) else 1)"
    environment = os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code, str(site)], cwd=tmp_path, env=environment, check=True)
    command = [sys.executable, "-m", "unimodal", "train", *TINY, "output=run"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run/metrics.json").exists()

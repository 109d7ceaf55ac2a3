"""`unimodal export format=onnx`: the whole command, and the lines that its card shows."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from unimodal.hub import onnx
from unimodal.hub.card import ModelCard
from unimodal.training import build, checkpoints
from unimodal.training.export import asking
from unimodal.training.export.export import export


@pytest.fixture
def exported(small_run, configure, tmp_path, capsys):
    """Export a run with random weights; returns the folder and what the user is told."""

    def _exported(*overrides, weight=0.2):
        config = small_run(*overrides)
        config = build.complete(config, build.make_source(config))
        torch.manual_seed(0)
        task = build.make_task(config)
        with torch.no_grad():
            for parameter in task.parameters():
                parameter.add_(weight * torch.randn_like(parameter))
        saved = {"format": checkpoints.FORMAT, "config": config}
        torch.save({"state_dict": task.state_dict(), "unimodal": saved}, tmp_path / "run.ckpt")
        settings = (f"checkpoint={tmp_path / 'run.ckpt'}", f"output={tmp_path / 'graph'}", "num_samples=3")
        capsys.readouterr()
        folder = export(configure(*settings, "format=onnx", verb="export"))
        return folder, capsys.readouterr().out

    return _exported


def shown(folder):
    """The lines of Python in the card."""
    card = ModelCard.load(folder / "README.md")
    assert (card.data.library_name, card.data.tags[2]) == ("onnxruntime", "onnx")
    return card.content.partition("```python\n")[2].partition("```")[0]


def run_lines(folder, lines):
    """Runs them beside the folder, as its user would, where nothing of ours is imported."""
    clean = "import sys; sys.modules['unimodal'] = None\n" + lines
    done = subprocess.run(
        [sys.executable, "-c", clean], cwd=folder.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_an_image_run_as_a_graph(exported, tmp_path):
    folder, told = exported("modality=image")
    assert float(told.partition("difference")[2].split()[0]) <= 1e-4
    assert "InferenceSession" in told
    names = {path.name for path in folder.iterdir()}
    assert names == {"README.md", "config.json", "model.onnx", "preprocessor_config.json"}
    assert "pixel\\_values: uint8 \\[batch, 3, 32, 32\\]" in (folder / "README.md").read_text()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (50, 40, 3), np.uint8)).save(tmp_path / "photo.jpg")
    assert "'0': '0'" in run_lines(folder, shown(folder))


@pytest.mark.slow
def test_a_language_model_as_a_graph_writes(exported):
    folder, _ = exported("modality=text")
    lines = shown(folder).replace("range(64)", "range(3)")
    assert run_lines(folder, lines).startswith("a text")


@pytest.mark.slow
@pytest.mark.parametrize("modality", ["audio", "video"])
@pytest.mark.parametrize("block", ["modern", "classic"])
def test_sound_and_clips_as_graphs(exported, modality, block):
    folder, told = exported(f"modality={modality}", f"block={block}")
    assert float(told.partition("difference")[2].split()[0]) <= 1e-4
    assert json.loads((folder / "config.json").read_text())["id2label"]


@pytest.mark.slow
def test_a_graph_that_differs_leaves_nothing(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(asking, "TOLERANCE", -1.0)
    with pytest.raises(ValueError, match=r"differ by up to .* so no folder is left"):
        exported("modality=image")
    assert [path.name for path in tmp_path.iterdir() if "graph" in path.name] == []


@pytest.mark.slow
def test_what_is_no_number_equals_nothing(exported):
    with pytest.raises(ValueError, match="differ by up to nan"):
        exported("modality=image", weight=float("nan"))


def test_without_the_extra_nothing_is_read(configure, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx, "find_spec", lambda name: None)
    config = configure("checkpoint=none", f"output={tmp_path / 'graph'}", "format=onnx", verb="export")
    with pytest.raises(ValueError, match=r"pip install 'unimodal\[onnx\]'"):
        export(config)

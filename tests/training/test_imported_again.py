"""Folders of our own as a start, and what they may not do."""

import json

import pytest
import torch

from unimodal.training import build, checkpoints
from unimodal.training.export.export import export
from unimodal.training.pretrained.adopt import adopt
from unimodal.training.pretrained.start import make_start
from unimodal.training.train import train

TINY = (
    "backbone.dim=32",
    "backbone.depth=2",
    "backbone.num_heads=2",
    "trainer=cpu",
    "trainer.precision=32-true",
)


@pytest.fixture
def exported(small_run, configure, tmp_path):
    """Train for a moment, export as `form`."""

    def _exported(*overrides, form="portable"):
        train(small_run(*overrides), tmp_path / "run")
        request = (f"checkpoint={tmp_path / 'run'}", f"output={tmp_path / 'out'}", f"format={form}")
        return export(configure(*request, "num_samples=2", verb="export"))

    return _exported


@pytest.fixture
def adopted(configure, tmp_path):
    def _adopted(folder, *overrides):
        config = configure("debug=fast", f"pretrained={folder}", f"output={tmp_path / 'next'}", *overrides)
        return adopt(config, [override.partition("=")[0] for override in overrides])

    return _adopted


@pytest.mark.slow
def test_a_tied_language_model_exports_and_starts_another(exported, adopted, tmp_path):
    folder = exported("modality=text", "task.tied=true", "task.sample_len=8", form="auto")
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["Qwen3ForCausalLM"]
    config = adopted(folder, "modality=text", "task.sample_len=8", "keep_head=true")
    assert config["task"]["tied"] is True
    _, task, _ = make_start(config, build.make_source(config))
    saved, weights = checkpoints.load(tmp_path / "run")
    first = build.restore_task(saved, weights).eval()
    ids = torch.arange(20)[None]
    with torch.no_grad():
        assert torch.equal(first.outputs({"input_ids": ids}), task.eval().outputs({"input_ids": ids}))


def test_what_the_data_says_of_the_task_is_not_the_folders(exported, adopted):
    config = adopted(exported(), "modality=image", "task.class_weights.scheme=balanced")
    assert config["task"]["class_weights"]["scheme"] == "balanced"
    assert config["task"]["class_names"]["_partial_"] is True


def test_a_portable_folder_names_only_parts_of_models(exported, adopted, tmp_path):
    folder = exported()
    file = folder / "config.json"
    config = json.loads(file.read_text())
    for target in ("os.system", "unimodal.data.sources.folder.FolderSource", "lightning.Trainer"):
        config["tokenizers"]["image"]["std"] = {"_target_": target, "path": str(tmp_path)}
        file.write_text(json.dumps(config))
        with pytest.raises(ValueError, match=f"out names {target}, which no yaml of unimodal declares"):
            adopted(folder, "modality=image")


def test_a_resumed_run_with_a_kept_head_keeps_the_order_of_its_classes(small_run, adopted, tmp_path):
    from PIL import Image

    for name in ("ant", "mole", "zebra"):
        for i in range(8):
            file = tmp_path / "photos" / name / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16), (30 * i, 20, len(name) * 30)).save(file)
    data = ("data=folder", f"data.path={tmp_path / 'photos'}")
    order = "data.labels.class_names=[zebra,ant,mole]"
    train(small_run(*data, order), tmp_path / "run")
    config = adopted(tmp_path / "run", "modality=image", "keep_head=true", *data, *TINY)
    assert config["data"]["labels"]["class_names"] == ["zebra", "ant", "mole"]


def test_nothing_is_exported_without_a_comparison(small_run, configure, tmp_path):
    train(small_run(), tmp_path / "run")
    request = (f"checkpoint={tmp_path / 'run'}", f"output={tmp_path / 'out'}", "num_samples=0")
    with pytest.raises(ValueError, match="num_samples=0 must be at least 1"):
        export(configure(*request, verb="export"))

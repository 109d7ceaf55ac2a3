import json
from pathlib import Path

import pytest
import torch
import yaml

from unimodal.training.evaluate import evaluate
from unimodal.training.train import train

MODALITIES = ("image", "text", "audio", "video")
SHORT = ("tokenizer.max_len=64", "task.sample_len=16")


def _settings(modality: str) -> tuple[str, ...]:
    return (f"modality={modality}", *(SHORT if modality == "text" else ()))


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_run_folder_is_complete_and_evaluate_gives_its_figures_exactly(
    small_run, configure, tmp_path, modality
):
    run = tmp_path / "run"
    figures = train(small_run(*_settings(modality), "trainer.limit_val_batches=null"), run)
    for name in (
        "config.yaml",
        "metrics.json",
        "metrics.csv",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
    ):
        assert (run / name).is_file(), name
    assert list((run / "samples").glob("step-*.txt"))
    saved = json.loads((run / "metrics.json").read_text())
    assert saved == figures
    assert {"val/loss", "parameters", "seconds"} <= saved.keys()
    assert ("val/bits_per_byte" if modality == "text" else "val/accuracy") in saved
    again = evaluate(
        configure(f"checkpoint={run}", "trainer=cpu", "trainer.precision=32-true", verb="evaluate")
    )
    assert again == {name: value for name, value in figures.items() if name.startswith("val/")}


def test_the_written_config_is_plain_and_resolved(small_run, tmp_path):
    train(small_run(), tmp_path / "run")
    config = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert config["backbone"]["dim"] == config["tokenizer"]["dim"] == 32
    assert "${" not in (tmp_path / "run/config.yaml").read_text()


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_classic_dialect_trains(small_run, tmp_path, modality):
    config = small_run(*_settings(modality), "block=classic")
    assert config["tokenizer"]["learned_positions"]
    train(config, tmp_path / "run")


def test_the_checkpoint_loads_with_weights_only(small_run, tmp_path):
    train(small_run("modality=text", *SHORT), tmp_path / "run")
    content = torch.load(tmp_path / "run/checkpoints/best.ckpt", weights_only=True)
    assert content["unimodal"]["config"]["tokenizer"]["vocabulary"]["eos_token"] == "<|endoftext|>"


def test_a_finished_run_is_not_overwritten(small_run, tmp_path):
    train(small_run(), tmp_path / "run")
    with pytest.raises(ValueError, match="finished run; choose another output"):
        train(small_run(), tmp_path / "run")


def test_the_same_seed_gives_the_same_run_and_another_another(small_run, tmp_path):
    losses = [
        train(small_run(f"seed={seed}", f"output={tmp_path / name}"), tmp_path / name)["val/loss"]
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert losses[0] == losses[1] != losses[2]


def test_the_number_of_workers_does_not_change_the_run(small_run, tmp_path):
    losses = [
        train(small_run(f"loader.num_workers={n}", f"output={tmp_path / str(n)}"), tmp_path / str(n))[
            "val/loss"
        ]
        for n in (0, 2)
    ]
    assert losses[0] == losses[1]


def test_compile_keeps_the_names_in_the_checkpoint(small_run):
    from unimodal.training import build

    config = small_run()
    source = build.make_source(config)
    task = build.make_task(build.complete(config, source))
    before = list(task.state_dict())
    build.compile_blocks(task)
    assert list(task.state_dict()) == before


def test_overfitting_one_batch_drives_the_loss_down(small_run, tmp_path):
    config = small_run(
        "debug=overfit",
        "task.label_smoothing=0",
        "trainer.max_epochs=60",
        "loader.batch_size=8",
        "backbone.dim=64",
    )
    train(config, tmp_path / "run")
    rows = (tmp_path / "run/metrics.csv").read_text().splitlines()
    column = rows[0].split(",").index("train/loss")
    losses = [float(row.split(",")[column]) for row in rows[1:] if row.split(",")[column]]
    assert losses[-1] < 0.05 < losses[0]


def test_frozen_parameters_do_not_enter_the_optimizer(small_run):
    from unimodal.training import build
    from unimodal.training.optimization import parameter_groups

    config = small_run("modality=text", *SHORT, "task.tied=true")
    source = build.make_source(config)
    task = build.make_task(build.complete(config, source))
    task.model.backbone.requires_grad_(False)
    decayed, others = (group["params"] for group in parameter_groups(task))
    assert decayed == []
    assert [p is task.head.weight for p in others] == [True]  # shared with the embedding: once, without decay


def test_a_run_folder_path_may_hold_spaces_and_other_letters(small_run, tmp_path):
    run = tmp_path / "мой run"
    train(small_run(f"output='{run}'"), Path(run))
    assert (run / "metrics.json").exists()

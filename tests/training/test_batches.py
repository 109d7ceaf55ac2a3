"""Batches of different lengths through the real commands."""

import numpy as np
import pytest
import soundfile
from PIL import Image

from unimodal.training.evaluate import evaluate
from unimodal.training.export.export import export
from unimodal.training.predict import predict
from unimodal.training.train import train

TEXTS = ("modality=text", "data=table", "task=classification", "tokenizer=text_byte")
BUDGET = ("loader.pack=true", "loader.max_tokens=200", "loader.eval_batch_size=8")


def pictures(folder):
    rng = np.random.default_rng(0)
    for i in range(32):
        (folder / "ab"[i % 2]).mkdir(exist_ok=True, parents=True)
        size = (*rng.integers(12, 40, 2), 3)
        Image.fromarray(rng.integers(0, 255, size, np.uint8)).save(folder / "ab"[i % 2] / f"{i}.png")
    return ("modality=image", "data=folder", f"data.path={folder}", "tokenizer=image_any")


def sounds(folder):
    rng = np.random.default_rng(0)
    for i in range(32):
        (folder / "ab"[i % 2]).mkdir(exist_ok=True, parents=True)
        samples = rng.normal(0, 0.1, rng.integers(800, 9000))
        soundfile.write(folder / "ab"[i % 2] / f"{i}.wav", samples, 16_000)
    return ("modality=audio", "data=folder", f"data.path={folder}")


def texts(folder):
    folder.mkdir()
    rows = [f"{'word ' * (1 + i % 7)},{'ab'[i % 2]}" for i in range(40)]
    (folder / "train.csv").write_text("\n".join(["text,label", *rows]))
    return (*TEXTS, f"data.path={folder}")


@pytest.mark.parametrize("made", [pictures, sounds, texts])
def test_a_packed_run_within_a_budget_is_measured_again_exactly(small_run, configure, tmp_path, caplog, made):
    data, run = made(tmp_path / "data"), tmp_path / "run"
    with caplog.at_level("INFO"):
        figures = train(small_run(*data, *BUDGET), run)
    assert "training examples in" in caplog.text and "tokens, " in caplog.text
    assert {"val/loss", "val/accuracy"} <= figures.keys() and figures["steps"] > 0
    asked = configure(f"checkpoint={run}", "trainer=cpu", "trainer.precision=32-true", verb="evaluate")
    assert evaluate(asked).items() <= figures.items()


def test_a_model_of_pictures_of_any_size_answers_but_is_not_exported(small_run, configure, tmp_path):
    run, answers = tmp_path / "run", tmp_path / "answers.csv"
    train(small_run(*pictures(tmp_path / "data"), "loader.batch_size=8"), run)
    asked = [f"checkpoint={run}", f"inputs={tmp_path / 'data'}", f"output={answers}", "trainer=cpu"]
    predict(configure(*asked, verb="predict"))
    assert len(answers.read_text().splitlines()) == 1 + 32
    asked = configure(f"checkpoint={tmp_path / 'run'}", f"output={tmp_path / 'model'}", verb="export")
    with pytest.raises(ValueError, match=r"ImageAnySizeTokenizer cannot be exported.*pixel_patches"):
        export(asked)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("loader.balanced=true", "loader.max_tokens=99"), r"loader.balanced=true draws.*choose one"),
        (("loader.max_row_tokens=99",), "set loader.pack=true"),
        (("loader.max_tokens=0",), "loader.max_tokens=0 must be at least 1"),
        (("loader.max_tokens=15",), "less than the longest training example, of 16 tokens"),
    ],
)
def test_what_has_no_meaning_is_refused(small_run, tmp_path, overrides, message):
    with pytest.raises(ValueError, match=message):
        train(small_run(*overrides), tmp_path / "run")

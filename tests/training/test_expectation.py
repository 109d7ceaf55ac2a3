"""The line that tells what a run will take."""

import re

import pytest

from unimodal.training.callbacks import expectation
from unimodal.training.callbacks.expectation import _duration, _large
from unimodal.training.train import train

SETTINGS = (
    "debug=none",
    "modality=audio",
    "data.train_size=30",
    "data.val_size=4",
    "loader.batch_size=1",  # 30 steps of an epoch
    "trainer.max_epochs=2",
    "baseline=false",
)
LINE = re.compile(
    r"expected: (?P<steps>[\d,]+) more steps in about \d+ s \([\d.e-]+ s a step\), "
    r"(?P<tokens>[\d.]+k?) tokens \([\d.]+k? a second\), [\d.]+ GiB of memory$",
    re.MULTILINE,
)


def test_a_long_run_prints_once_what_to_expect(small_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(expectation, "MIN_SECONDS", 0.0)
    train(small_run(*SETTINGS), tmp_path / "run")
    output = capsys.readouterr().out
    assert output.count("expected: ") == 1
    found = LINE.search(output)
    assert found, output
    assert found["steps"] == "15"  # the first epoch is skipped, then 15 of the second are timed


@pytest.mark.parametrize("settings", [(), ("debug=overfit",)])
def test_short_runs_and_debug_runs_print_nothing(small_run, tmp_path, monkeypatch, capsys, settings):
    monkeypatch.setattr(expectation, "MIN_SECONDS", 0.0 if settings else 1e9)
    train(small_run(*SETTINGS, *settings), tmp_path / "run")
    assert "expected: " not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "text"), [(45, "45 s"), (720, "12 min"), (5399, "90 min"), (7200, "2.0 h")]
)
def test_durations_have_a_fitting_unit(seconds, text):
    assert _duration(seconds) == text


@pytest.mark.parametrize(("number", "text"), [(12, "12"), (9.8e6, "9.8M"), (1500, "1.5k"), (2e9, "2.0B")])
def test_large_numbers_are_short(number, text):
    assert _large(number) == text

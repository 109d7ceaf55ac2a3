"""What an interruption by the keyboard prints."""

import pytest

from unimodal.training.callbacks.samples import Samples
from unimodal.training.train import train


def interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("on_train_batch_end", "nothing is saved before the first validation"),
        ("on_train_epoch_start", "nothing is saved before the first validation"),
    ],
)
def test_an_interruption_before_the_first_validation_says_that_nothing_is_saved(
    small_run, tmp_path, monkeypatch, capsys, when, said
):
    monkeypatch.setattr(Samples, when, interrupt, raising=False)
    with pytest.raises(SystemExit):
        train(small_run(f"output={tmp_path / 'run'}"), tmp_path / "run")
    assert said in capsys.readouterr().out


def test_an_interrupted_run_says_how_it_continues(small_run, tmp_path, monkeypatch, capsys):
    def stop(callback, trainer, *_):
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Samples, "on_train_epoch_start", stop, raising=False)
    output = tmp_path / "run"
    longer = ("trainer.max_epochs=2", "trainer.max_steps=-1", "trainer.limit_train_batches=2")
    with pytest.raises(SystemExit):
        train(small_run(f"output={output}", *longer), output)
    assert f"the same command with output={output} continues from last.ckpt" in capsys.readouterr().out

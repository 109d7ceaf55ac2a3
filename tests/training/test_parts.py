import csv
import itertools

import pytest

from unimodal.training.metrics_csv import MetricsCSV
from unimodal.training.optimization import count_steps
from unimodal.training.schedules import constant, cosine, wsd


@pytest.mark.parametrize("num_steps", [1, 2, 7, 100])
def test_schedules_stay_between_zero_and_one_and_never_start_at_zero(num_steps):
    schedules = (
        lambda s: wsd(s, num_steps, 0.1, 0.4),
        lambda s: cosine(s, num_steps, 0.1),
        lambda s: constant(s, num_steps, 0.1),
    )
    for schedule in schedules:
        factors = [schedule(step) for step in range(num_steps)]
        assert all(0 < factor <= 1 for factor in factors)


def test_wsd_rises_holds_and_falls_to_zero():
    factors = [wsd(step, 100, warmup=0.1, decay=0.4) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert set(factors[9:61]) == {1.0}
    assert all(a > b for a, b in itertools.pairwise(factors[60:]))
    assert factors[100] == 0


def test_cosine_ends_at_zero():
    assert cosine(100, 100, warmup=0.1) == pytest.approx(0)
    assert cosine(55, 100, warmup=0.1) == pytest.approx(0.5)


def test_steps_are_counted_as_lightning_takes_them():
    assert count_steps(batches=10, accumulate=1, max_epochs=3, max_steps=-1) == 30
    assert (
        count_steps(batches=10, accumulate=4, max_epochs=3, max_steps=-1) == 9
    )  # the last batches of an epoch step too
    assert count_steps(batches=10, accumulate=1, max_epochs=3, max_steps=5) == 5
    assert count_steps(batches=10, accumulate=1, max_epochs=None, max_steps=5) == 5
    assert count_steps(batches=10, accumulate=1, max_epochs=3, max_steps=-1, limit=4) == 12
    assert count_steps(batches=10, accumulate=1, max_epochs=3, max_steps=-1, limit=0.5) == 15
    with pytest.raises(ValueError, match=r"set trainer\.max_epochs or trainer.max_steps"):
        count_steps(batches=10, accumulate=1, max_epochs=None, max_steps=-1)


def test_metrics_csv_has_a_row_a_step_and_goes_on_after_a_resume(tmp_path):
    first = MetricsCSV(tmp_path)
    first.log_metrics({"train/loss": 2.0}, 1)
    first.log_metrics({"val/loss": 3.0}, 1)
    first.log_metrics({"train/loss": 1.0}, 2)
    first.save()
    second = MetricsCSV(tmp_path)
    second.resume(1)
    second.log_metrics({"train/loss": 0.5}, 3)
    second.save()
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["step"], row["train/loss"], row["val/loss"]) for row in rows] == [
        ("1", "2.0", "3.0"),
        ("3", "0.5", ""),
    ]

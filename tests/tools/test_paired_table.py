"""The table of paired runs, from made-up metrics."""

import importlib
import inspect
import pkgutil

import pytest
from paired_table import Variant, compared, direction, shown, table
from scipy import stats

import unimodal.tasks
from unimodal.tasks.retrieval import retrieval_modes
from unimodal.training.callbacks.probe import Probe


def _variant(name, metric, values, seconds=(10.0, 11.0, 60.0), **metrics):
    runs = zip(values, seconds, strict=False)
    return Variant(
        name, f"a={name}", [{metric: v, "seconds": s, "parameters": 1234, **metrics} for v, s in runs]
    )


def _cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_differences_are_those_of_the_same_seed():
    one = _variant("one", "val/accuracy", (0.50, 0.70, 0.90))
    two = _variant("two", "val/accuracy", (0.52, 0.73, 0.91), seconds=(20.0, 22.0, 21.0))
    head, _, first, second = map(_cells, table([one, two], "val/accuracy", "max", (0, 1, 2)))
    row = dict(zip(head, second, strict=True))
    assert [row[f"seed {seed}"] for seed in (0, 1, 2)] == ["52.00%", "73.00%", "91.00%"]
    assert row["mean"] == "72.00%" and row["deviation"] == "19.52 points"
    assert row["difference to one"].startswith("+2.00 \u00b1 0.58 points; better (p = ")
    assert row["seeds won, tied, lost"] == "3, 0, 0"
    assert row["parameters without heads"] == "1,234"
    assert row["time"] == "1.91 (21 s)"  # of medians: one slow run of the first variant moves nothing
    assert dict(zip(head, first, strict=True))["difference to one"] == ""
    assert "baseline" not in head


def test_p_is_that_of_scipys_paired_t_test():
    one, two = (1.5, 1.52, 1.47, 1.6), (1.49, 1.50, 1.46, 1.57)
    p = stats.ttest_rel(two, one).pvalue
    text = compared("val/loss", "min", [b - a for a, b in zip(one, two, strict=True)])
    assert text.endswith(f"; better (p = {p:.2g})")


@pytest.mark.parametrize(
    ("mode", "differences", "verdict"),
    [
        ("max", (0.02, 0.03, 0.02), "better ("),
        ("max", (-0.02, -0.03, -0.02), "worse ("),
        ("min", (0.02, 0.03, 0.02), "worse ("),
        ("min", (-0.02, -0.03, -0.02), "better ("),
        ("max", (0.02, -0.03, 0.02), "no difference shown"),
        ("max", (0.0, 0.0, 0.0), "no difference shown"),
        ("max", (0.3,), "one seed, no difference shown"),
        ("max", (0.91 - 0.9, 0.92 - 0.91), "better, by the same in each seed"),  # not the same in floats
        ("max", (0.1, float("nan"), 0.1), "not finite"),
    ],
)
def test_a_difference_is_shown_from_two_standard_errors_on(mode, differences, verdict):
    assert verdict in compared("val/f1", mode, differences)


def test_a_lower_loss_wins_a_seed():
    one, two = (_variant(name, "val/loss", v) for name, v in (("one", (1.5, 1.5)), ("two", (1.4, 1.6))))
    lines = table([one, two], "val/loss", "min", (0, 1))
    assert "| 1, 0, 1 |" in lines[3] and "1.4" in lines[3] and "%" not in lines[3]


def test_the_baseline_of_the_same_metric_stands_in_the_table():
    baseline = {"metric": "val/accuracy", "value": 0.8598, "mode": "max", "model": "logistic regression"}
    one = _variant("one", "val/accuracy", (0.9, 0.9), baseline=baseline)
    two = _variant("two", "val/accuracy", (0.9, 0.9))
    lines = [_cells(line) for line in table([one, two], "val/accuracy", "max", (0, 1))]
    assert [line[-1] for line in lines] == ["baseline", "---", "85.98%", ""]
    assert len({len(line) for line in lines}) == 1


def test_the_direction_is_that_of_each_task_of_the_repository():
    modes = dict(Probe.metric_modes) | retrieval_modes(["image", "text"]) | {"loss": "min"}
    for module in pkgutil.iter_modules(unimodal.tasks.__path__):
        for _, one in inspect.getmembers(
            importlib.import_module(f"unimodal.tasks.{module.name}"), inspect.isclass
        ):
            own = vars(one).get("metric_modes", {})
            modes |= {} if isinstance(own, property) else own
    assert len(modes) > 20
    for name, mode in modes.items():
        assert direction(f"val/{name}") == direction(f"val/source/{name}") == mode, name


def test_an_unknown_metric_asks_for_its_direction():
    with pytest.raises(ValueError, match=r"val/price is not a known metric; set mode \(--mode\)"):
        direction("val/price")


def test_shares_are_percentages_and_others_numbers():
    assert shown("val/wer", 0.0312) == "3.12%" and shown("val/bits_per_byte", 1.55412) == "1.554"

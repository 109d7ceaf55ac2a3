"""Half precision throughout leaves labels as the data has them."""

import json

import pytest
import torch

from unimodal.training.precision import ExactLabels
from unimodal.training.train import train

YEARS = [1961.0, 2019.0, 1001.0, 1700000003.0]  # bfloat16 rounds each of them


def test_labels_of_a_batch_keep_their_type():
    labels = torch.tensor(YEARS, dtype=torch.float64)
    batch = {"ages": {"input_values": torch.ones(4, 2), "labels": labels, "lengths": torch.ones(4).long()}}
    converted = ExactLabels("bf16-true").convert_input(batch)["ages"]
    assert converted["labels"].dtype == torch.float64 and torch.equal(converted["labels"], labels)
    assert converted["input_values"].dtype == torch.bfloat16
    assert converted["lengths"].dtype == torch.int64


def test_a_regression_in_bf16_is_measured_against_the_labels_of_the_data(configure, tmp_path):
    rows = [{"text": f"{'ab'[i % 2]} {i}", "label": 2000.0 + 3 * (i % 2) + 0.5} for i in range(40)]
    (tmp_path / "years.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = ("modality=text", "task=regression", "data=table", f"data.path={tmp_path / 'years.jsonl'}")
    small = ("backbone.dim=32", "backbone.depth=1", "backbone.num_heads=2", "trainer=cpu", "debug=fast")
    config = configure(*settings, *small, "trainer.precision=bf16-true", f"output={tmp_path / 'run'}")
    figures = train(config, tmp_path / "run")
    # the mean of 2000.5 and 2003.5 is 1.5 from each; bfloat16 makes them 2000 and 2000, which are 2 from it
    assert figures["val/mae"] == pytest.approx(1.5, abs=0.2)

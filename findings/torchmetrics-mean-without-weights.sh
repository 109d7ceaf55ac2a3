#!/usr/bin/env bash
# One would guess: MeanMetric(nan_strategy="disable") is MeanMetric without the removal of NaN values, so that the
# weights of update(value, weight) still count and a NaN in one batch shows in the mean.
# What happens (torchmetrics 1.9.0): with "disable" the weights are replaced by ones. A batch of 1 target with loss 9 and
# one of 99 targets with loss 1 have the mean 5.0 instead of 1.08. With the other strategies weights count, but a NaN is
# removed: the mean of a diverged batch and a good one is that of the good one.
# Why it matters: validation losses are kept in this class. One choice makes them depend on how batches were cut, the
# other hides divergence from the metric that selects checkpoints.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/environment"
"$folder/environment/bin/pip" install --quiet torch==2.14.1 torchmetrics==1.9.0 numpy
"$folder/environment/bin/python" -W ignore - <<'PY'
import torch
import torchmetrics
from torchmetrics import MeanMetric

print("torch", torch.__version__, "torchmetrics", torchmetrics.__version__)


def mean(strategy, batches):
    metric = MeanMetric(nan_strategy=strategy)
    for value, weight in batches:
        metric.update(torch.tensor(value), torch.tensor(weight))
    return metric.compute().item()


uneven, diverged = [(9.0, 1.0), (1.0, 99.0)], [(float("nan"), 50.0), (1.0, 50.0)]
for strategy in ("warn", "disable"):
    print(f"{strategy}: uneven batches {mean(strategy, uneven):.2f}, with a NaN {mean(strategy, diverged):.2f}")
assert abs(mean("warn", uneven) - 1.08) < 1e-5 and mean("warn", diverged) == 1.0
assert mean("disable", uneven) == 5.0
PY

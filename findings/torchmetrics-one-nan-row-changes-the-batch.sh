#!/usr/bin/env bash
# One would guess: multi-label F1 of probabilities judges each row by itself; one row of NaN costs at most that row.
# What happens (torchmetrics 1.9.0): a NaN makes the check "all predictions are between 0 and 1" fail, so the whole batch
# is taken for logits. sigmoid lifts every probability to 0.5 and more, and all labels of all rows count as predicted:
# 8 rows that were all right fall from an F1 of 1.0 to 0.5 when a ninth row is NaN.
# Why it matters: a single overflow in half precision changes the metric of a whole validation batch, and how much
# depends on the batch size.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/environment"
"$folder/environment/bin/pip" install --quiet torch==2.14.1 torchmetrics==1.9.0 numpy
"$folder/environment/bin/python" - <<'PY'
import torch
import torchmetrics
from torchmetrics.functional.classification import multilabel_f1_score

print("torch", torch.__version__, "torchmetrics", torchmetrics.__version__)
labels = torch.tensor([[1, 0, 0], [0, 1, 0]] * 4)
right = torch.where(labels == 1, 0.9, 0.1)
alone = multilabel_f1_score(right, labels, num_labels=3, average="micro").item()
nan = torch.full((1, 3), torch.nan)
beside = multilabel_f1_score(
    torch.cat([right, nan]), torch.cat([labels, torch.full((1, 3), -100)]), 3, average="micro", ignore_index=-100
).item()
print(f"micro F1 of 8 rows that are right: alone {alone:.2f}, beside an ignored row of NaN {beside:.2f}")
assert alone == 1.0 and abs(beside - 0.5) < 1e-6
PY

#!/usr/bin/env bash
# One would guess: precision="bf16-true" keeps the model and its inputs in bfloat16, and hands the targets of a batch to
# training_step as the data set made them, since a loss can be taken in float32.
# What happens (lightning 2.6.6): every floating-point tensor of a batch is converted, also the targets. The years 2017 and
# 2019 arrive as 2016 and 2016, and 1001.0 as 1000.0; "bf16-mixed" leaves them as they are.
# Why it matters: a regression learns rounded numbers, and its validation error is taken against rounded numbers, so that
# nothing in the logs shows it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/environment"
"$folder/environment/bin/pip" install --quiet torch==2.14.1 lightning==2.6.6 numpy
cd "$folder"
"$folder/environment/bin/python" -W ignore - <<'PY'
import logging

import lightning as L
import torch
from torch.utils.data import DataLoader, TensorDataset

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
print("torch", torch.__version__, "lightning", L.__version__)
years = torch.tensor([[2017.0], [2019.0], [1001.0]])


class Model(L.LightningModule):
    """Keeps the targets that it is handed."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch, index):
        inputs, targets = batch
        self.seen = targets.detach().clone()
        return (self.layer(inputs).float() - targets.float()).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-9)


def targets_under(precision):
    model = Model()
    trainer = L.Trainer(
        accelerator="cpu",
        precision=precision,
        max_steps=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, DataLoader(TensorDataset(torch.zeros(3, 4), years), 3))
    print(precision, model.seen.dtype, model.seen.flatten().tolist())
    return model.seen.float()


assert torch.equal(targets_under("bf16-mixed"), years)
assert targets_under("bf16-true").flatten().tolist() == [2016.0, 2016.0, 1000.0]
PY

#!/usr/bin/env bash
# One would guess: a checkpoint that ModelCheckpoint saves with {val_loss} in its name has that validation loss, and
# Trainer(max_steps=...) validates the weights it ends with.
# What happens (lightning 2.6.6): when max_steps ends training inside an epoch there is no validation, but the hook of the
# epoch's end runs and ModelCheckpoint saves the new weights under the loss of the last validation, many steps before.
# Two files of different weights are named with the same loss, and the final weights are never compared.
# Why it matters: whoever picks a checkpoint by its name or by best_model_score gets weights that nobody measured.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/environment"
"$folder/environment/bin/pip" install --quiet torch==2.14.1 lightning==2.6.6 numpy
cd "$folder"
"$folder/environment/bin/python" -W ignore - <<'PY'
import logging
import re
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
print("torch", torch.__version__, "lightning", L.__version__)


class Model(L.LightningModule):
    """A weight that moves by 0.1 in each step; the loss is its distance from 10."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def loss(self):
        return (self.weight - 10).abs().sum()

    def training_step(self, batch, index):
        return self.loss()

    def validation_step(self, batch, index):
        self.log("val_loss", self.loss())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


saving = ModelCheckpoint("saved", "{step}-{val_loss:.1f}", monitor="val_loss", save_top_k=-1)
trainer = L.Trainer(
    accelerator="cpu",
    max_steps=35,
    callbacks=[saving],
    logger=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(Model(), DataLoader(torch.zeros(20), 1), DataLoader(torch.zeros(2), 1))
named = {}
for file in sorted(Path("saved").iterdir()):
    step, loss = re.fullmatch(r"step=(\d+)-val_loss=([\d.]+)\.ckpt", file.name).groups()
    weight = torch.load(file, weights_only=True)["state_dict"]["weight"].item()
    named[int(step)] = (float(loss), round(abs(weight - 10), 1))
    print(f"{file.name}: the loss of these weights is {abs(weight - 10):.1f}")
assert named == {20: (8.0, 8.0), 35: (8.0, 6.5)}
PY

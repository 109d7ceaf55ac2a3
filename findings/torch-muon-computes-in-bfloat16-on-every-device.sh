#!/usr/bin/env bash
# One would guess: torch.optim.Muon computes the update of a float32 matrix on a CPU in float32, as every other optimizer of
# torch.optim does, or offers an option for the precision.
# What happens (torch 2.14.1): the Newton-Schulz iteration is always in bfloat16. All updates of float32 weights have
# values that bfloat16 can represent, and there is no option. On a CPU without bfloat16 arithmetic (no AVX512-BF16, no AMX)
# a step for the 28 hidden matrices of a 0.8M transformer took 0.75 to 1.0 s with one thread; the same iteration in float32, with the
# matrices of one shape as one batch, took 0.06 s. (The times are printed; only the precision is checked.)
# Why it matters: somebody who tries Muon on a small model on a CPU sees steps that take several times as long as with
# AdamW, and blames the method.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/environment"
"$folder/environment/bin/pip" install --quiet torch==2.14.1 numpy
cd "$folder"
OMP_NUM_THREADS=1 "$folder/environment/bin/python" -W ignore - <<'PY'
import time
from inspect import signature

import torch

print("torch", torch.__version__, torch.backends.cpu.get_cpu_capability())
torch.manual_seed(0)
shapes = [(128, 128)] * 16 + [(344, 128)] * 8 + [(128, 344)] * 4
weights = [torch.nn.Parameter(torch.zeros(shape)) for shape in shapes]
for weight in weights:
    weight.grad = torch.randn_like(weight)
optimizer = torch.optim.Muon(weights, lr=1.0, weight_decay=0.0)
optimizer.step()
# For square matrices and lr=1 a weight of zero is minus the update after the first step.
exact = all(torch.equal(weight, weight.bfloat16().float()) for weight in weights[:16])
print("updates of float32 weights are bfloat16 numbers:", exact)
print("options:", ", ".join(signature(torch.optim.Muon).parameters))


def seconds(step):
    start = time.process_time()
    for _ in range(3):
        step()
    return (time.process_time() - start) / 3


def batched():
    for group in ([w.grad for w in weights[:16]], [w.grad for w in weights[16:24]] + [w.grad.T for w in weights[24:]]):
        x = torch.stack([g if g.shape[0] <= g.shape[1] else g.T for g in group])
        x = x / x.norm(dim=(1, 2), keepdim=True)
        for _ in range(5):
            gram = x @ x.mT
            x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x


print(f"CPU seconds a step: torch.optim.Muon {seconds(optimizer.step):.3f}, batched in float32 {seconds(batched):.3f}")
assert exact and not any("dtype" in name or "precision" in name for name in signature(torch.optim.Muon).parameters)
PY

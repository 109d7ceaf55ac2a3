#!/usr/bin/env bash
# One would guess: F.cross_entropy with class weights and label smoothing weighs each sample by its own class, so that
# on data which is perfectly separable the loss is least where every sample is given its true class.
# What happens (torch 2.14.1): the smoothed share of every other class is multiplied by the weight of that class. With
# two classes, smoothing 0.1 and weights in the ratio 40 to 1, the optimum gives the frequent class a probability of
# 0.32: every sample of it is predicted as the rare one. From a ratio of 19 on the optimum is the wrong class.
# Why it matters: "balanced" weights for rare defects or diseases reach such ratios, and smoothing is a default of many
# recipes; accuracy falls to the share of the rare class, without a warning. Multiply the unreduced, smoothed loss by
# weight[label] instead.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/environment"
"$folder/environment/bin/pip" install --quiet torch==2.14.1 numpy
"$folder/environment/bin/python" - <<'PY'
import torch
import torch.nn.functional as F

print("torch", torch.__version__)
labels, weight = torch.tensor([0]), torch.tensor([1.0, 40.0])  # a sample of the frequent class


def optimum(loss):
    """The probability of the true class where the loss is least."""
    logits = torch.zeros(1, 2, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=500, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        value = loss(logits)
        value.backward()
        return value

    optimizer.step(closure)
    return logits.softmax(-1)[0, 0].item()


built_in = optimum(lambda logits: F.cross_entropy(logits, labels, weight, label_smoothing=0.1))
by_row = optimum(
    lambda logits: (weight[labels] * F.cross_entropy(logits, labels, label_smoothing=0.1, reduction="none")).mean()
)
print(f"probability of the true class at the optimum: built in {built_in:.3f}, row by row {by_row:.3f}")
assert abs(built_in - 0.95 / (0.95 + 0.05 * 40)) < 0.01 and built_in < 0.5
assert abs(by_row - 0.95) < 0.01
PY

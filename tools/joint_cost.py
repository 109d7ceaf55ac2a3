"""What idle sources and several sources a step cost, as paired ratios of step times.

    python tools/joint_cost.py [ROUNDS]

idle: an image step of `modality=all`, where text, audio and video are idle, over one of `modality=image`.
several: a step with a batch of each of the four, over one that takes them one by one and adds the gradients.

Machines drift, so each round times the two sides alternately; printed are the median ratio and its quartiles.
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from unimodal.tasks.learner import Learner
from unimodal.training import build, schema
from unimodal.training.optimization import Optimization

STEPS = 4  # a side and round


def learner_of(*overrides: str) -> tuple[Learner, dict]:
    """A fresh one, its optimizer ready, and its first batches by source."""
    with initialize_config_module("unimodal.conf", version_base="1.3"):
        config = OmegaConf.to_container(compose("train", overrides=["trainer=cpu", *overrides]), resolve=True)
    assert isinstance(config, dict)
    plain = {str(key): value for key, value in config.items()}
    source = build.make_source(plain)
    complete = build.complete(plain, source)
    learner = build.make_learner(complete)
    data = build.make_datamodules(complete, source, learner)
    learner.train()
    made = Optimization(build.make(complete["optimizer"]), build.make(complete["scheduler"]), 1000)(learner)
    learner.optimizer = made["optimizer"]
    modules = getattr(data, "modules", {"": data})
    return learner, {name: next(iter(module.train_dataloader())) for name, module in modules.items()}


def backward(learner: Learner, batches: dict) -> None:
    """Forward and backward."""
    with torch.autocast("cpu", torch.bfloat16):
        output = learner(batches)
    outputs = output.values() if isinstance(output, dict) else [output]
    sum(one.loss for one in outputs).backward()


def step(learner: Learner, *parts: dict) -> None:
    """The gradients of all parts, then one update."""
    for batches in parts:
        backward(learner, batches)
    learner.optimizer.step()
    learner.optimizer.zero_grad(set_to_none=True)


def seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    for _ in range(STEPS):
        work()
    return time.perf_counter() - start


def ratio(name: str, one: Callable[[], None], other: Callable[[], None], rounds: int) -> None:
    """Print how much longer `one` takes."""
    seconds(one), seconds(other)
    found = []
    for place in range(rounds):
        sides = [one, other] if place % 2 else [other, one]
        times = {id(side): seconds(side) for side in sides}
        found.append(times[id(one)] / times[id(other)])
    low, middle, high = statistics.quantiles(found, n=4)
    sys.stdout.write(f"{name:<8} {middle:.3f} (quartiles {low:.3f} to {high:.3f}, {rounds} rounds)\n")


def main() -> None:
    rounds = int(sys.argv[1]) if sys.argv[1:] else 40
    schema.register()
    OmegaConf.register_new_resolver("run_suffix", lambda: "cost", replace=True)
    joint, batches = learner_of("modality=all")
    image, own = learner_of("modality=image")
    ratio("idle", lambda: step(joint, {"image": batches["image"]}), lambda: step(image, own[""]), rounds)

    parts = [{name: batch} for name, batch in batches.items()]
    ratio("several", lambda: step(joint, batches), lambda: step(joint, *parts), rounds)


if __name__ == "__main__":
    main()

"""Learning-rate schedules: the factor at a step, from 0 to 1."""

import math


def _warmup(step: int, num_steps: int, warmup: float) -> float:
    return min(1.0, (step + 1) / max(1, round(warmup * num_steps)))


def wsd(step: int, num_steps: int, warmup: float, decay: float) -> float:
    """Warmup, stable, decay: linear up over `warmup`, down to zero over `decay`, both shares of all steps."""
    left = (num_steps - step) / max(1, round(decay * num_steps))
    return min(_warmup(step, num_steps, warmup), max(0.0, min(1.0, left)))


def cosine(step: int, num_steps: int, warmup: float) -> float:
    """Linear up over `warmup`, a share of all steps, then half a cosine down to zero."""
    start = round(warmup * num_steps)
    done = min(1.0, max(0, step - start) / max(1, num_steps - start))
    return _warmup(step, num_steps, warmup) * 0.5 * (1 + math.cos(math.pi * done))


def constant(step: int, num_steps: int, warmup: float) -> float:
    """Linear up over `warmup`, a share of all steps, then constant."""
    return _warmup(step, num_steps, warmup)

"""The callbacks of a run; each knows which metric it monitors and which direction of it is better."""

from collections.abc import Mapping
from inspect import signature

import lightning as L
from hydra.utils import get_object

from unimodal.suggestions import nearest
from unimodal.tasks.learner import Learner
from unimodal.training import build
from unimodal.training.callbacks.probe import Probe


def make_callbacks(config: build.Config, task: Learner) -> list[L.Callback]:
    """The callbacks that the config names; `monitor` and `mode` that are left open are the task's.

    Raises:
        ValueError: if the direction of a monitored metric is neither set nor known.
    """
    nodes = {name: node for name, node in (config.get("callbacks") or {}).items() if node}
    modes = task.known_modes
    if "probe" in nodes:
        modes |= {f"val/{name}": mode for name, mode in Probe.metric_modes.items()}
    return [build.make(_monitoring(name, node, task.monitor, modes)) for name, node in nodes.items()]


def _monitoring(name: str, node: build.Config, default: str, modes: Mapping[str, str]) -> build.Config:
    """Return a callback's node with the metric that it monitors, and which direction of it is better."""
    monitor = default if node.get("monitor") == "???" else node.get("monitor")
    takes_mode = "mode" in node or "mode" in signature(get_object(str(node["_target_"]))).parameters
    if not isinstance(monitor, str) or not takes_mode:
        return {**node, "monitor": monitor} if "monitor" in node else node
    mode = modes.get(monitor) if node.get("mode") in (None, "???") else node["mode"]
    if mode is None:
        raise ValueError(
            f"callbacks.{name}.monitor={monitor} is none of the metrics of this task ({', '.join(modes)})"
            f"{nearest(monitor, modes) or '.'} For a metric of your own, set callbacks.{name}.mode to min "
            "or max."
        )
    return {**node, "monitor": monitor, "mode": mode}

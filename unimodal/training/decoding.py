"""Another way of writing texts than a run was trained with."""

from collections.abc import Mapping
from typing import Any

from unimodal.training.build import Config


def with_decoding(saved: Config, changes: Mapping[str, Any]) -> Config:
    """The run's config with what `changes` says, None = as in the run.

    Raises:
        ValueError: if the run's task writes no texts.
    """
    said = {knob: value for knob, value in changes.items() if value is not None}
    if not said:
        return saved
    decoding = saved["task"].get("decoding")
    if decoding is None:
        name = saved["task"]["_target_"].rpartition(".")[2]
        raise ValueError(
            f"decoding.{next(iter(said))} is for runs that write texts about media (task=captioning); "
            f"this one is {name}."
        )
    return saved | {"task": saved["task"] | {"decoding": decoding | said}}

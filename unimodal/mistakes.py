"""One sentence for a mistake on the command line, with the nearest valid name."""

import re
from collections.abc import Iterator
from inspect import signature
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from unimodal.suggestions import nearest


def explain(error: BaseException, verb: str, arguments: list[str]) -> str:
    """What went wrong and what to type instead."""
    chain = list(_causes(error))
    if isinstance(error, MissingConfigException):
        return _unknown_option(error)
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return _without_worker(str(error))
    for cause in chain:
        key = re.search(r"full_key: (\S+)", str(cause))
        if isinstance(cause, ConfigKeyError) or "not in struct" in str(cause) or "not in '" in str(cause):
            name = key[1] if key else str(cause)
            config, groups = _composed(verb, arguments)
            if _is_parameter(config, name):
                given = next((one for one in arguments if one.startswith(f"{name}=")), f"{name}=VALUE")
                return f"{name} is not in the config yet; add it with a plus: +{given}"
            valid = [*(key for key in _keys(config) if not key.startswith("hydra.")), *groups]
            return f"there is no key {name}{nearest(name, valid)} (--cfg job shows all)"
    if override := re.search(r"Could not override '([^'@]+)(@[^']+)?'", str(error)):
        return _unused_choice(*override.groups(default=""))
    bare = re.match(r"Error parsing override '([^=']*)'", str(error))
    if bare:
        return f"{bare[1]} is no KEY=VALUE; write KEY={bare[1]} with one of the keys that --cfg job shows"
    message = "; ".join(
        dict.fromkeys(str(cause).strip().split("\n")[0] for cause in chain if str(cause).strip())
    )
    place = next((m[1] for c in chain if (m := re.search(r"full_key: (\S+)", str(c)))), None)
    return f"{message} (key {place})" if place and place not in message else message


def _without_worker(message: str) -> str:
    """What a loader's worker raised comes with its traceback as text; its last error is what counts."""
    if not message.startswith("Caught "):
        return message
    return re.split(r"\n[\w.]*(?:Error|BadSample): ", message)[-1].strip()


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _unknown_option(error: MissingConfigException) -> str:
    wanted = error.missing_cfg_file or ""
    group, _, option = wanted.rpartition("/")
    if not error.options:
        return str(error).split("\n")[0]
    return (
        f"{group} has no option {option}{nearest(option, error.options)} It has {', '.join(error.options)}."
    )


def _unused_choice(group: str, place: str) -> str:
    owner, _, part = group.rpartition("/")
    if not owner:
        return f"{group}{place} is not in the config; add it with +{group}{place}=NAME"
    whose = f"{owner}{place}".removesuffix(f".{part}")
    return (
        f"{group}{place} is set, but what is chosen as {whose} has no {part}; choose another {owner} for it"
    )


def _composed(verb: str, arguments: list[str]) -> tuple[DictConfig, list[str]]:
    """Return the verb's config with the options that were chosen, and its groups."""
    GlobalHydra.instance().clear()
    with initialize_config_module("unimodal.conf", version_base="1.3"):
        try:
            config = compose(verb, _choices(arguments), return_hydra_config=True)
        except HydraException:
            config = compose(verb, return_hydra_config=True)
        groups = GlobalHydra.instance().config_loader().list_groups("")
    return config, [group for group in groups if group not in ("hydra", "schema")]


def _is_parameter(config: DictConfig, name: str) -> bool:
    """Return whether the class that a key's node builds takes an argument of the key's name."""
    owner, _, key = name.rpartition(".")
    node = OmegaConf.select(config, owner) if owner else None
    target = node.get("_target_") if isinstance(node, DictConfig) else None
    return isinstance(target, str) and key in signature(get_object(target)).parameters


def _choices(arguments: list[str]) -> list[str]:
    """The arguments that choose an option of a group, such as data=folder."""
    groups = GlobalHydra.instance().config_loader().list_groups("")
    return [argument for argument in arguments if argument.partition("=")[0] in groups]


def _keys(node: DictConfig, prefix: str = "") -> Iterator[str]:
    key: Any
    for key in node:
        yield f"{prefix}{key}"
        if not OmegaConf.is_missing(node, key) and not OmegaConf.is_interpolation(node, key):
            value = node._get_node(key)
            if isinstance(value, DictConfig) and not value._is_none():
                yield from _keys(value, f"{prefix}{key}.")

"""What a preset sets of a group reaches another option of that group only where that option has the key.

A preset is a file with `# @package _global_`: a modality, a dialect, an experiment, a debug mode, or one of
the user's. `experiment=clips` sets `augment.hflip` for augment=video, which it chooses; `augment=none` has no
such key, and the preset's key must not stay behind. A key that the preset's own option does not have either
is a mistake in the preset: it stays, and is refused where the object is made.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import hydra._internal.hydra as application
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.default_element import GroupDefault, InputDefault, ResultDefault
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf, open_dict

Path = tuple[str, ...]
Tree = dict[str, Any]

LEFT_OUT: list[str] = []  # sentences on the config that was composed last


def install() -> None:
    """Make Hydra compose with `PresetLoader`, which it has no setting for."""
    application.ConfigLoaderImpl = PresetLoader  # type: ignore[misc]


class PresetLoader(ConfigLoaderImpl):
    """Hydra's loader, which leaves out what a preset sets for an option that is not chosen."""

    def _compose_config_from_defaults_list(self, defaults: list[ResultDefault], repo: Any) -> DictConfig:
        LEFT_OUT.clear()
        self._merged: Tree = {}
        self._files = _Files(repo)
        self._root = next((str(one.config_path) for one in defaults if one.primary), "")
        self._chosen = {
            one.package: str(one.config_path)
            for one in defaults
            if one.package and not str(one.config_path).startswith("schema/")
        }
        return super()._compose_config_from_defaults_list(defaults, repo)

    def _load_single_config(self, default: ResultDefault, repo: Any) -> ConfigResult:
        loaded = super()._load_single_config(default, repo)
        preset = str(default.config_path)
        if default.package in ("", "_global_") and "/" in preset and not preset.startswith("schema/"):
            loaded = self._fitting(loaded, preset)
        _update(self._merged, _plain(loaded.config))
        return loaded

    def _fitting(self, loaded: ConfigResult, preset: str) -> ConfigResult:
        foreign = list(self._foreign(_plain(loaded.config), self._merged, (), "", preset))
        if not foreign:
            return loaded
        fitting = copy.copy(loaded)
        fitting.config = copy.deepcopy(loaded.config)
        for path, _ in foreign:
            _delete(fitting.config, path)
        for group in dict.fromkeys(group for _, group in foreign):
            keys = ", ".join(".".join(path) for path, of in foreign if of == group)
            written = self._files.option(preset, group, self._root)
            folder, _, name = written.rpartition("/")
            group = folder + f"@{group}" * (folder.replace("/", ".") != group)
            chosen = self._chosen.get(group.rpartition("@")[2].replace("/", "."), "null").rpartition("/")[2]
            LEFT_OUT.append(
                f"{preset.replace('/', '=', 1)} sets {keys} for {group}={name}: left out, as "
                f"{group}={chosen} does not have {'it' if ',' not in keys else 'them'}"
            )
        return fitting

    def _foreign(
        self, body: Tree, base: Any, path: Path, group: str, preset: str
    ) -> Iterator[tuple[Path, str]]:
        """The paths that the preset's own option has and the chosen one does not, each with its group."""
        place = ".".join(path)
        if place in self._chosen or (len(path) == 1 and base is None):
            group = place
        written = self._files.option(preset, group, self._root) if group else ""
        other = bool(written) and written != self._chosen.get(group)
        if other and group == place and (base is None or "_target_" in body):
            yield path, group
            return
        for key, value in body.items():
            inner = (*path, key)
            if key in base:
                if isinstance(value, dict) and isinstance(base[key], dict if path else dict | None):
                    yield from self._foreign(value, base[key], inner, group, preset)
            elif other and _has(self._files.keys(written), inner[group.count(".") + 1 :]):
                yield inner, group


class _Files:
    """What the yaml files of a repository say, without composing them."""

    def __init__(self, repo: Any):
        self.repo = repo

    def option(self, preset: str, place: str, root: str) -> str:
        """The option, such as augment/video, that a preset was written for; "" if unknown."""
        return self._named(preset, place) or self._named(root, place)

    def _named(self, file: str, place: str) -> str:
        loaded = self.repo.load_config(file)
        entries = [(_target(entry, file), entry) for entry in (loaded.defaults_list or []) if loaded]
        here = [(path, entry) for path, entry in entries if path and _place(entry, file) == place]
        overridden = [path for path, entry in here if isinstance(entry, GroupDefault) and entry.override]
        presets = [path for path, _ in entries if path and self._is_preset(path)]
        inherited = [found for path in reversed(presets) if (found := self._named(path, place))]
        return next(iter([*overridden, *inherited, *(path for path, _ in here)]), "")

    def _is_preset(self, path: str) -> bool:
        if "${" in path or path.startswith("schema/"):
            return False
        loaded = self.repo.load_config(path)
        return bool(loaded) and str(loaded.header.get("package") or "").startswith("_global_")

    def keys(self, option: str) -> Tree:
        """All that an option has, with what it includes."""
        loaded = None if "${" in option else self.repo.load_config(option)
        if loaded is None:
            return {}
        keys = _plain(loaded.config)
        for entry in loaded.defaults_list or []:
            target = _target(entry, option)
            if target:
                place = "" if not isinstance(entry, GroupDefault) else _within(entry, option)
                _merge(keys, place, self.keys(target))
        return keys


def _target(entry: InputDefault, file: str) -> str:
    """The file that a line of a defaults list names, such as augment/none; empty for `_self_` and null."""
    if entry.is_self() or not entry.get_name():
        return ""
    name = f"{entry.group}/{entry.value}" if isinstance(entry, GroupDefault) else str(entry.get_name())
    folder = file.rpartition("/")[0]
    return name[1:] if name.startswith("/") else f"{folder}/{name}".lstrip("/")


def _place(entry: InputDefault, file: str) -> str:
    """Where in the config a line of a global file puts its option."""
    if not isinstance(entry, GroupDefault):
        return ""
    package = (entry.package or "").removeprefix("_global_").lstrip(".")
    return package or _target(entry, file).rpartition("/")[0].replace("/", ".")


def _within(entry: GroupDefault, option: str) -> str:
    """Where in an option a line of its defaults list puts what it names."""
    if entry.package:
        return "" if entry.package == "_here_" else entry.package
    return str(entry.group).lstrip("/").replace("/", ".")


def _plain(config: Any) -> Tree:
    plain = OmegaConf.to_container(config, resolve=False, throw_on_missing=False)
    return {str(key): value for key, value in plain.items()} if isinstance(plain, dict) else {}


def _update(merged: Tree, more: Tree) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            _update(merged[key], value)
        else:
            merged[key] = value


def _merge(keys: Tree, place: str, more: Tree) -> None:
    for name in filter(None, place.split(".")):
        keys = keys.setdefault(name, {})
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(keys.get(key), dict):
            _merge(keys[key], "", value)
        else:
            keys.setdefault(key, value)


def _has(keys: Any, path: Path) -> bool:
    for key in path:
        if not isinstance(keys, Mapping) or key not in keys:
            return False
        keys = keys[key]
    return True


def _delete(config: Any, path: Path) -> None:
    for key in path[:-1]:
        config = config._get_node(key)
    with open_dict(config):
        del config[path[-1]]

"""A Hugging Face model folder, local or from the hub, read as data: nothing in it is ever run."""

import json
from pathlib import Path
from typing import Any

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from huggingface_hub.utils import validate_repo_id
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from unimodal.data.tokenizer_files import FILES, GENERATION, TOKENIZER
from unimodal.hub.files import plain_file, read_text

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
DOWNLOADED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
NOT_DOWNLOADED = ["*/*", "consolidated*"]  # other formats of the same weights
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
MAX_JSON, MAX_TOKENIZER = 16 << 20, 256 << 20  # bytes
RUN, SHARDS = "checkpoints", ".metadata"  # what a run folder and a checkpoint of shards have of their own


class Folder:
    """What stands in a model folder. Keys such as `auto_map` or `_target_` in its files are only data.

    Args:
        path: of the folder.
        name: as the user named it; in error messages.

    Attributes:
        config: what config.json says.

    Raises:
        ValueError: if there is no usable config.json.
    """

    def __init__(self, path: Path, name: str):
        self.name, self.path = name, path.resolve()
        config = self.json(CONFIG)
        if config is None:
            raise ValueError(f"{name} has no {CONFIG}, so it is no Hugging Face model folder.")
        self.config = config

    def json(self, name: str) -> dict[str, Any] | None:
        """The object in a JSON file of the folder, None if there is no such file.

        Raises:
            ValueError: if the file is larger than 16 MiB, broken, or holds something else than an object.
        """
        text = self._text(name, MAX_JSON)
        if text is None:
            return None
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{self.name}/{name} is broken JSON: {error}") from error
        if not isinstance(content, dict):
            raise ValueError(f"{self.name}/{name} holds a {type(content).__name__}, not an object.")
        return content

    def tokenizer_json(self) -> str | None:
        """The text of tokenizer.json, None where the folder has none."""
        return self._text("tokenizer.json", MAX_TOKENIZER)

    def tokenizer_files(self) -> dict[str, str]:
        """The texts of the tokenizer's files and of generation_config.json, by name, where there are any.

        Raises:
            ValueError: if one is too large, is not UTF-8, or is a JSON file without an object in it.
        """
        found: dict[str, str] = {}
        for name in (*FILES, GENERATION):
            if name.endswith(".json") and name != TOKENIZER:
                self.json(name)  # raises where it is broken
            text = self.tokenizer_json() if name == TOKENIZER else self._text(name, MAX_JSON)
            found |= {} if text is None else {name: text}
        return found

    def tensors(self) -> dict[str, Tensor]:
        """All weights, on the CPU, by the names on disk.

        Raises:
            ValueError: if there are none as safetensors, or the files are not what the index says.
        """
        if self._file(WEIGHTS):
            return self._load(WEIGHTS)
        index = self.json(INDEX)
        if index is None:
            raise ValueError(self._why_no_weights())
        places = index.get("weight_map")
        if not isinstance(places, dict) or not all(isinstance(file, str) for file in places.values()):
            raise ValueError(f"{self.name}/{INDEX} has no weight_map from names to files.")
        weights: dict[str, Tensor] = {}
        for file in sorted(set(places.values())):
            shard = self._load(file)
            said = {name for name, place in places.items() if place == file}
            for name in sorted(said ^ shard.keys()):
                says = f"says {places[name]}" if name in places else "does not know it"
                has = "has" if name in shard else "lacks"
                raise ValueError(f"{self.name}/{file} {has} {name}, where {INDEX} {says}.")
            weights |= shard
        return weights

    def _load(self, file: str) -> dict[str, Tensor]:
        path = self._file(file)
        if path is None:
            raise ValueError(f"{self.name}/{file}, which {INDEX} names, is missing.")
        try:
            return load_file(path)
        except (SafetensorError, OSError, KeyError, RuntimeError) as error:  # KeyError: a new kind of number
            raise ValueError(f"{self.name}/{file} cannot be read as safetensors: {error}") from error

    def _text(self, name: str, limit: int) -> str | None:
        path = self._file(name)
        return read_text(path, f"{self.name}/{name}", limit) if path else None

    def _file(self, name: str) -> Path | None:
        return plain_file(self.path, name, self._blobs())

    def _blobs(self) -> list[Path]:
        """In the hub's cache the files are links: models--ORG--NAME/snapshots/REVISION/x -> ../../blobs/y."""
        revisions, repository = self.path.parent, self.path.parent.parent
        cached = revisions.name == "snapshots" and repository.name.startswith("models--")
        return [repository / "blobs"] if cached else []

    def _why_no_weights(self) -> str:
        pickled = sorted(file.name for pattern in PICKLED for file in self.path.glob(pattern))
        if (self.path / "adapter_config.json").exists():
            return f"{self.name} holds a peft adapter, no model; merge it into its model and save that."
        why = f"only pickled weights ({pickled[0]})" if pickled else f"no {WEIGHTS}"
        return (
            f"{self.name} has {why}; pickled weights can run code and are never read: load them once with "
            "transformers where you trust them, and save_pretrained(FOLDER) writes safetensors."
        )


def open_folder(path_or_id: str) -> Folder:
    """The model folder that the user names.

    Args:
        path_or_id: an existing folder; or an id on the Hugging Face hub, `name`, `org/name` or
            `org/name@revision`, of which configs, safetensors and tokenizer files are downloaded.

    Raises:
        ValueError: if there is no such folder, it cannot be downloaded, or is no model folder.
    """
    path = Path(path_or_id).expanduser()
    if path.is_dir():
        return Folder(path, path_or_id)
    if path.exists():
        raise ValueError(f"{path_or_id} is a file, not a model folder.")
    if not _is_hub_id(path_or_id):
        raise ValueError(f"no such folder: {path_or_id}")
    return Folder(_download(path_or_id), path_or_id)


def is_model_folder(path_or_id: str | Path) -> bool:
    """Whether `pretrained=` means a Hugging Face folder or hub id, not a run of ours. Downloads nothing."""
    path = Path(path_or_id).expanduser()
    if path.exists():
        ours = (path / RUN).exists() or (path / SHARDS).exists()
        return path.is_dir() and (path / CONFIG).exists() and not ours
    return _is_hub_id(str(path_or_id))


def _is_hub_id(name: str) -> bool:
    if name.startswith((".", "/", "~")) or name.endswith(".ckpt"):
        return False
    try:
        validate_repo_id(name.partition("@")[0])
    except HFValidationError:
        return False
    return True


def _download(name: str) -> Path:
    repository, _, revision = name.partition("@")
    try:
        folder = snapshot_download(
            repository,
            revision=revision or None,
            allow_patterns=DOWNLOADED,
            ignore_patterns=NOT_DOWNLOADED,
            local_files_only=constants.HF_HUB_OFFLINE,  # else huggingface_hub 1 asks for the list of files
        )
    except LocalEntryNotFoundError as error:
        raise ValueError(
            f"{name} is no folder here, nor (wholly) in the Hugging Face cache, and the hub cannot be "
            "reached; give a local folder instead, as ./FOLDER."
        ) from error
    except Exception as error:  # the hub's, httpx's and the file system's errors have no common base
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise ValueError(
            f"{name} is no folder here, and cannot be downloaded from the Hugging Face hub: {reason}."
        ) from error
    return Path(folder)

"""A run that starts from a Hugging Face folder has the folder's sizes, knobs, tokenizer and preprocessing."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from unimodal.hub.folder import is_model_folder
from unimodal.hub.imported import Imported
from unimodal.hub.native.heads import pooling_node
from unimodal.hub.trained import CLASSIFICATION
from unimodal.training import checkpoints
from unimodal.training.build import Config
from unimodal.training.mix import ALONE, views, with_views
from unimodal.training.pretrained.fields import field_of
from unimodal.training.pretrained.origin import read_imported, source_for

ASKED = ("modality", "tokenizer", "experiment")  # options that say what is read
SIZES = ("backbone", "block")  # options that the folder decides
DICTATED = ("pooling", "head_norm", "head_norm_eps", "head_bias", "causal", "tied")  # of a task


def adopt(
    config: Config, typed: Iterable[str] = (), config_dirs: Iterable[Path] = (), source: str = ALONE
) -> Config:
    """The config with what `pretrained` dictates, if that is a Hugging Face folder or hub id.

    What the user typed stands above the folder, the folder above the presets. A run that goes on from its
    last checkpoint has what stands there.

    Args:
        config: resolved, of train.yaml.
        typed: the keys and options that the user typed, such as `tokenizer.image_size` or `task/pooling`.
        config_dirs: as in `checkpoints.load`.
        source: the name of the source whose view the config is, in joint training.

    Raises:
        ValueError: if the folder is none of a family that we know, or it reads something else than the run.
    """
    name = config.get("pretrained")
    if not name:
        return config
    if config.get("mix"):
        return _joint(config, set(typed), config_dirs)
    last = Path(config["output"]) / checkpoints.LAST
    if last.exists() and not checkpoints.is_checkpoint(name):
        return _resumed(config, last, config_dirs)
    if not is_model_folder(name):
        return _keeping_head(config, config_dirs, source)
    found = read_imported(str(name), field_of(config["tokenizer"]), config_dirs)
    return _from_folder(config, found, set(typed))


def _joint(config: Config, typed: set[str], config_dirs: Iterable[Path]) -> Config:
    """Each source as a run of its own would be; the backbone is the same for all."""
    last = Path(config["output"]) / checkpoints.LAST
    if last.exists() and not checkpoints.is_checkpoint(config["pretrained"]):
        saved, _ = checkpoints.load(last, config_dirs)
        model = ("tokenizer", "task", "beside")
        mix = {
            name: node | {key: saved["mix"].get(name, node)[key] for key in model}
            for name, node in config["mix"].items()
        }
        return config | {"backbone": saved["backbone"], "mix": mix}
    adopted = {
        name: adopt(view, _typed_of(name, typed), config_dirs, name) for name, view in views(config).items()
    }
    first = next(iter(adopted.values()))
    return with_views(config, adopted) | {key: first[key] for key in SIZES}


def _typed_of(source: str, typed: set[str]) -> set[str]:
    """What was typed of one source, and of the backbone, as in a run of its own."""
    own = {one.removeprefix(f"mix.{source}.") for one in typed if one.startswith(f"mix.{source}.")}
    options = {one.partition("@")[0] for one in typed if f"@mix.{source}." in one}
    return own | options | {one for one in typed if one.startswith(SIZES)} | {"modality"}


def _resumed(config: Config, last: Path, config_dirs: Iterable[Path]) -> Config:
    """With what the folder dictated when the run began: the folder may be gone."""
    saved, _ = checkpoints.load(last, config_dirs)
    config = config | {key: saved[key] for key in ("backbone", "tokenizer", "task", "beside")}
    return _with_classes(config, saved["task"].get("class_names")) if config.get("keep_head") else config


def _from_folder(config: Config, found: Imported, typed: set[str]) -> Config:
    odd = sorted(typed.intersection(SIZES))
    if odd:
        raise ValueError(f"{odd[0]}= is decided by pretrained={found.name}; drop it.")
    field = field_of(config["tokenizer"])
    backbone = found.backbone | _typed(config["backbone"], typed, "backbone")
    backbone["block"] = found.backbone["block"] | _typed(config["block"], typed, "block")
    beside = {"beside": _own(found, field)} if config.get("beside") == "own" else {}
    adopted = config | beside | {"backbone": backbone, "block": backbone["block"]}
    if found.field != field:
        if not typed.intersection(ASKED):
            raise ValueError(
                f"{found.name} reads {found.field}, this run {field}; set modality={found.field}, or "
                f"modality={field} to give the blocks of {found.name} a new {field} tokenizer."
            )
        return adopted | _other_modality(config, found, typed)
    own = "tokenizer" in typed  # another kind than the folder's
    tokenizer = config["tokenizer"] | {"dim": backbone["dim"]} if own else _tokenizer(config, found, typed)
    adopted |= {"tokenizer": tokenizer, "task": _task(config, found.task, typed)}
    if not config.get("keep_head"):
        return adopted
    if found.task.get("class_names") is None and found.task["_target_"] == CLASSIFICATION:
        raise ValueError(f"keep_head=true: {found.name} ({found.label}) has no head that a task here has.")
    return _with_classes(adopted, found.task.get("class_names"))


def _keeping_head(config: Config, config_dirs: Iterable[Path], source: str) -> Config:
    """With the classes of a checkpoint of ours, in their order."""
    if not config.get("keep_head"):
        return config
    saved, _ = checkpoints.load(config["pretrained"], config_dirs)
    if saved["mix"]:
        saved = views(saved)[source_for(saved, source, field_of(config["tokenizer"]))]
    return _with_classes(config, saved["task"].get("class_names"))


def _with_classes(config: Config, names: list[str] | None) -> Config:
    """Labels mean what the kept head says."""
    if names is None or not (config["data"] or {}).get("labels") or config["data"]["labels"]["class_names"]:
        return config
    return config | {"data": config["data"] | {"labels": config["data"]["labels"] | {"class_names": names}}}


def _typed(node: Mapping[str, Any], typed: set[str], prefix: str) -> dict[str, Any]:
    chosen = (key for key in node if key != "block" and _is_typed(f"{prefix}.{key}", typed))
    return {key: node[key] for key in chosen}


def _own(found: Imported, field: str) -> dict[str, Any]:
    """The folder's tokenizers beside the run's."""
    own = {key: node for key, node in found.tokenizers.items() if key != field}
    if not own:
        raise ValueError(
            f"beside=own: {found.name} reads {field} and nothing else; choose another modality=."
        )
    return own


def _tokenizer(config: Config, found: Imported, typed: set[str]) -> dict[str, Any]:
    """The folder's, but for what the user typed; a mere limit of the context is not above the run's."""
    node, theirs = config["tokenizer"], dict(found.tokenizers[found.field])
    if found.field == "text" and theirs.get("vocabulary") is None:
        raise ValueError(
            f"{found.name} has no tokenizer.json; save_pretrained(FOLDER) of its AutoTokenizer writes one, "
            "or set tokenizer=text_pretrained tokenizer.vocabulary.path=..."
        )
    if theirs.get("max_len") and not theirs.get("learned_positions"):
        theirs["max_len"] = min(theirs["max_len"], node.get("max_len", theirs["max_len"]))
    return theirs | _typed(node, typed, "tokenizer")


def _other_modality(config: Config, found: Imported, typed: set[str]) -> dict[str, Any]:
    """The run's own tokenizer in the folder's width; where the blocks know no places, it adds some."""
    tokenizer = config["tokenizer"] | {"dim": found.backbone["dim"]}
    rotary = found.backbone["block"]["rope_theta"] is not None
    if not rotary and "tokenizer.learned_positions" not in typed:
        tokenizer["learned_positions"] = True
    if not found.causal:
        return {"tokenizer": tokenizer}
    task = {"causal": True, "pooling": pooling_node("last")}
    return {"tokenizer": tokenizer, "task": _task(config, task, typed)}


def _task(config: Config, theirs: Mapping[str, Any], typed: set[str]) -> dict[str, Any]:
    """The run's task, with what the stock class dictates where it has such a knob."""
    node = config["task"]
    settings = {key: theirs[key] for key in DICTATED if key in theirs and key in node}
    return node | {key: value for key, value in settings.items() if not _is_typed(f"task.{key}", typed)}


def _is_typed(key: str, typed: set[str]) -> bool:
    """Whether it, or a part of it, was typed; options of a group too."""
    return any(f"{one.replace('/', '.')}.".startswith(f"{key}.") for one in typed)

"""Where unimodal is installed, its own classes load what it exported."""

from pathlib import Path

import transformers

from unimodal.hub.portable import modeling_unimodal
from unimodal.hub.portable.auto import AUTO_CLASSES, model_class, modules_of
from unimodal.hub.portable.configuration_unimodal import UnimodalConfig
from unimodal.hub.portable.flatten import write_code
from unimodal.hub.portable.nodes import named


def register() -> None:
    """Make `AutoModel.from_pretrained` and its kin know `model_type="unimodal"`."""
    transformers.AutoConfig.register("unimodal", UnimodalConfig, exist_ok=True)
    for auto_class, name in AUTO_CLASSES.items():
        getattr(transformers, auto_class).register(UnimodalConfig, model_class(name), exist_ok=True)
    modeling_unimodal.UnimodalPreTrainedModel.write_code = staticmethod(_write_code)


def _write_code(folder: str | Path, config: UnimodalConfig) -> None:
    write_code(Path(folder), named(config), modules_of(config.task.get("_target_", "")))

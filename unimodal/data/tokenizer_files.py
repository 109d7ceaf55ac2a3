"""The files of a Hugging Face tokenizer: a vocabulary takes them along, and they are exported unchanged."""

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tokenizers import Tokenizer as FastTokenizer
from transformers import AutoTokenizer

TOKENIZER, SETTINGS, GENERATION = "tokenizer.json", "tokenizer_config.json", "generation_config.json"
FILES = (TOKENIZER, SETTINGS, "special_tokens_map.json", "added_tokens.json", "chat_template.jinja")
"""What AutoTokenizer reads of a fast tokenizer; a vocabulary has their texts under the names of the files."""

GENERIC = "PreTrainedTokenizerFast"  # the class that does what tokenizer.json says
DECISIVE = ("model_type", "tokenizer_class")  # of a model's config
PROBE = "The Red  brown FOX can't jump 12 times:\n\tna\u00efve \u00c9T\u00c9 \ufb01ne \u4f60\u597d \U0001f600"


def with_settings(files: Mapping[str, str], **settings: Any) -> dict[str, str]:
    """The files with other values in tokenizer_config.json."""
    known = json.loads(files.get(SETTINGS, "{}"))
    return {**files, SETTINGS: json.dumps({**known, **settings}, indent=2, ensure_ascii=False) + "\n"}


def without_code(files: Mapping[str, str]) -> dict[str, str]:
    """The files without the names of code that a loader could run."""
    known = json.loads(files.get(SETTINGS, "{}"))
    if "auto_map" not in known:
        return dict(files)
    del known["auto_map"]
    return {**files, SETTINGS: json.dumps(known, indent=2, ensure_ascii=False) + "\n"}


def differing_ids(files: Mapping[str, str], config: Mapping[str, Any]) -> str:
    """Say in one clause how the ids of AutoTokenizer differ from those of tokenizer.json; "" if they do not.

    Tokenizer classes such as those of GPT-2 and Qwen ignore the normalizer and the pre-tokenizer of the file.

    Args:
        files: by name, tokenizer.json among them.
        config: the model's: for some model types it decides the class.
    """
    known = {key: config[key] for key in DECISIVE if key in config and config[key] != "unimodal"}
    return _differing_ids(tuple(sorted(files.items())), json.dumps(known))


@lru_cache(maxsize=4)
def _differing_ids(files: tuple[tuple[str, str], ...], config: str) -> str:
    with TemporaryDirectory() as name:
        for file, text in (*files, ("config.json", config)):
            (Path(name) / file).write_bytes(text.encode())
        try:
            stock = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        except Exception as error:  # whatever the class that the files name may raise
            return f"AutoTokenizer cannot load it ({type(error).__name__})"
    mine, theirs = FastTokenizer.from_str(dict(files)[TOKENIZER]).encode(PROBE).ids, stock(PROBE)["input_ids"]
    if mine == theirs:
        return ""
    return (
        f"AutoTokenizer ({type(stock).__name__}) cuts a probe text into other tokens than tokenizer.json "
        f"({len(theirs)} tokens, {len(mine)} by the file)"
    )

"""The tokenizer files of a folder as a vocabulary."""

from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer as FastTokenizer

from unimodal.data.tokenizer_files import (
    GENERIC,
    SETTINGS,
    TOKENIZER,
    differing_ids,
    with_settings,
    without_code,
)
from unimodal.hub.processors.text import without_start

ENDLESS = 1_000_000  # a longer model_max_length says that there is none


def read_text(
    files: Mapping[str, str], settings: dict[str, Any], config: dict[str, Any], name: str
) -> dict[str, Any]:
    """Settings of a text tokenizer.

    Args:
        files: the texts of the tokenizer's files, by name; tokenizer.json is one of them.
        settings: what is in `tokenizer_config.json` or, of older folders, `special_tokens_map.json`.
        config: what is in `config.json`.
        name: of the folder, in error messages.

    Returns:
        `vocabulary`, which takes the files along, `max_len` where there is a `model_max_length`, and a `note`
        where the ids of AutoTokenizer are others. The end of text is the tokenizer's, else the model's, else
        the separator.

    Raises:
        ValueError: if the tokenizer cannot be read, or there is no end of text.
    """
    text = files[TOKENIZER]
    try:
        fast = FastTokenizer.from_str(text)
    except Exception as error:  # the library raises Exception itself
        raise ValueError(f"{name}/tokenizer.json cannot be read: {error}.") from error
    named = (
        _content(settings.get("eos_token")),
        _token(fast, config.get("eos_token_id")),
        _content(settings.get("sep_token")),
    )
    eos = next((token for token in named if token and fast.token_to_id(token) is not None), None)
    if eos is None:
        raise ValueError(
            f"{name}/tokenizer_config.json names no eos_token that tokenizer.json has; write one there."
        )
    max_len = settings.get("model_max_length")
    cut = {"max_len": int(max_len)} if isinstance(max_len, int | float) and 0 < max_len < ENDLESS else {}
    others = {key: _content(settings.get(key)) for key in ("bos_token", "pad_token")}
    others = {key: token for key, token in others.items() if token and fast.token_to_id(token) is not None}
    known = {"tokenizer": without_start(text, eos), "eos_token": eos}
    known |= {key: token for key, token in others.items() if token and token != eos}
    kept, note = _kept(files, config, name)
    return {"vocabulary": known | kept, **cut, **({"note": note} if note else {})}


def _kept(files: Mapping[str, str], config: dict[str, Any], name: str) -> tuple[dict[str, str], str]:
    """The files that are exported again, and a note where AutoTokenizer gives other ids than the run has."""
    if SETTINGS not in files:  # no stock class is named: export writes files of its own
        return {}, ""
    kept = without_code(files)
    why = differing_ids(kept, config)
    if not why:
        return kept, ""
    note = f"text: {why}; this run and its export have the ids of {name}/tokenizer.json."
    return with_settings(kept, tokenizer_class=GENERIC), note


def _content(token: Any) -> str | None:
    """A token is a string, or a dict that says how it is found."""
    said = token.get("content") if isinstance(token, dict) else token
    return said if isinstance(said, str) else None


def _token(fast: FastTokenizer, token_id: Any) -> str | None:
    """Of several ids the first."""
    first = token_id[0] if isinstance(token_id, list) and token_id else token_id
    return fast.id_to_token(first) if isinstance(first, int) and 0 <= first < 2**32 else None

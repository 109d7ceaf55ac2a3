"""Text: a vocabulary as the files of a stock fast tokenizer, and back."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Regex, normalizers, processors
from tokenizers import Tokenizer as FastTokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from unimodal.hub.processors.arguments import arguments
from unimodal.hub.trained import Node
from unimodal.tokenizers.text import TextPreprocess

ENDLESS = 1_000_000  # a longer model_max_length says that there is none


def write_text(folder: Path, node: Node, causal: bool) -> None:
    """`tokenizer.json` and `tokenizer_config.json`; nothing for a tokenizer without a vocabulary.

    Strings like `<|endoftext|>` in a text stay plain text. Two things differ from ours: no stock tokenizer
    cuts to `model_max_length` unless a call says `truncation=True`, and an empty text has no token (we give
    it the end of text) unless it is a prompt.

    Args:
        folder: is there.
        node: of a text tokenizer.
        causal: texts are prompts of a language model. Ours begin with the end of text; so do the tokenizer's,
            unless it came with special tokens of its own.
    """
    vocabulary = arguments(node)["vocabulary"]
    if vocabulary is None:
        return
    fast = _finished(vocabulary["tokenizer"], vocabulary["eos_token"], causal)
    side = "left" if causal else "right"  # what is generated follows the prompt
    save(
        folder,
        fast,
        vocabulary,
        side,
        model_max_length=arguments(node)["max_len"],
        **_start(vocabulary, causal),
    )


def write_prompts(folder: Path, node: Node) -> None:
    """Of a captioner: behind a prompt stands the end of text, where what is written starts."""
    vocabulary = arguments(node)["vocabulary"]
    eos = vocabulary["eos_token"]
    fast = _finished(vocabulary["tokenizer"], eos, False)
    fast.post_processor = processors.TemplateProcessing(
        single=f"$A {eos}", special_tokens=[(eos, fast.token_to_id(eos))]
    )
    save(folder, fast, vocabulary, "left", model_max_length=arguments(node)["max_len"])


def save(folder: Path, fast: FastTokenizer, vocabulary: Mapping[str, str], side: str, **more: Any) -> None:
    """The files of a stock fast tokenizer that pads on this side."""
    stock = PreTrainedTokenizerFast(
        tokenizer_object=fast,
        eos_token=vocabulary["eos_token"],
        pad_token=vocabulary.get("pad_token", vocabulary["eos_token"]),
        padding_side=side,
        split_special_tokens=True,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
        **more,
    )
    stock.save_pretrained(str(folder))


def _start(vocabulary: Mapping[str, str], causal: bool) -> dict[str, str]:
    """The token that a text begins with: its own, else in a language model the end of the one before it."""
    bos = vocabulary.get("bos_token", vocabulary["eos_token"] if causal else "")
    return {"bos_token": bos} if bos else {}


def _finished(text: str, eos: str, causal: bool) -> FastTokenizer:
    """The tokenizer with what `data` does to a text before it, and a task to its ids after it."""
    fast = FastTokenizer.from_str(text)
    fast.no_padding()
    fast.no_truncation()
    if fast.normalizer is None:  # a pretrained one has its own way with texts, which stays as it is
        fast.normalizer = _plain()
    if causal and not fast.num_special_tokens_to_add(False):
        start = processors.TemplateProcessing(
            single=f"{eos} $A", special_tokens=[(eos, fast.token_to_id(eos))]
        )
        known = fast.post_processor
        fast.post_processor = start if known is None else processors.Sequence([known, start])
    return fast


def _plain() -> normalizers.Normalizer:
    """As `data.decoding.texts` does: no byte order mark, lines ended by LF, no NUL characters."""
    replaced: list[tuple[Any, str]] = [(Regex(r"\A\x{feff}"), ""), ("\r\n", "\n"), ("\r", "\n"), ("\0", "")]
    return normalizers.Sequence([normalizers.Replace(old, new) for old, new in replaced])


def check_text(folder: Path, node: Node, causal: bool, texts: list[str]) -> None:
    """Compares the ids of the tokenizer that AutoTokenizer makes of a whole folder with ours.

    For some model types (qwen2, modernbert) it builds the tokenizer that the family usually has, whatever
    `tokenizer_config.json` names.

    Args:
        folder: with a native model's `config.json`.
        node: of a text tokenizer.
        causal: as in `write_text`.
        texts: not empty, and as `data` leaves them.

    Raises:
        ValueError: if they differ.
    """
    knobs = arguments(node)
    eos = knobs["vocabulary"]["eos_token"]
    ours = TextPreprocess(_finished(knobs["vocabulary"]["tokenizer"], eos, causal).to_str(), eos, 1)
    stock = AutoTokenizer.from_pretrained(str(folder))
    for text in texts:
        if stock(text)["input_ids"] != ours.encode(text).ids:
            raise ValueError(
                f"for this family transformers takes {type(stock).__name__}, which cuts {text[:40]!r} into "
                "other tokens than this vocabulary does; take another format, for instance format=qwen3 or "
                "format=portable."
            )


def read_text(text: str, settings: dict[str, Any], config: dict[str, Any], name: str) -> dict[str, Any]:
    """Knobs of a text tokenizer.

    Args:
        text: of `tokenizer.json`.
        settings: what is in `tokenizer_config.json` or, of older folders, `special_tokens_map.json`.
        config: what is in `config.json`.
        name: of the folder, in error messages.

    Returns:
        `vocabulary`, and `max_len` where there is a `model_max_length`. The end of text is the tokenizer's,
        else the model's, else the separator.

    Raises:
        ValueError: if the tokenizer can not be read, or there is no end of text.
    """
    try:
        fast = FastTokenizer.from_str(text)
    except Exception as error:  # the library raises Exception itself
        raise ValueError(f"{name}/tokenizer.json can not be read: {error}.") from error
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
    known = {"tokenizer": _without_start(text, eos), "eos_token": eos}
    return {"vocabulary": known | {key: token for key, token in others.items() if token != eos}, **cut}


def _without_start(text: str, eos: str) -> str:
    """Without the end of text that `_finished` puts before a prompt: language modelling does so itself."""
    content = json.loads(text)
    known = content.get("post_processor") or {}
    steps = known.get("processors", [known]) if known else []
    last = steps[-1] if steps else {}
    single = last.get("single", []) if last.get("type") == "TemplateProcessing" else []
    ids = [token.get("SpecialToken", token.get("Sequence", {})).get("id") for token in single]
    if ids != [eos, "A"]:
        return text
    content["post_processor"] = known | {"processors": steps[:-1]} if steps[:-1] else None
    return json.dumps(content, ensure_ascii=False)


def _content(token: Any) -> str | None:
    """A token is a string, or a dict that says how it is found."""
    said = token.get("content") if isinstance(token, dict) else token
    return said if isinstance(said, str) else None


def _token(fast: FastTokenizer, token_id: Any) -> str | None:
    """Of several ids the first."""
    first = token_id[0] if isinstance(token_id, list) and token_id else token_id
    return fast.id_to_token(first) if isinstance(first, int) and 0 <= first < 2**32 else None

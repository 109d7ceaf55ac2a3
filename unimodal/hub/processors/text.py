"""Text: a vocabulary as the files of a stock fast tokenizer, and back."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Regex, normalizers, processors
from tokenizers import Tokenizer as FastTokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from unimodal.data.tokenizer_files import FILES, GENERIC, SETTINGS, TOKENIZER, with_settings
from unimodal.hub.processors.arguments import arguments
from unimodal.hub.trained import Node


def write_text(folder: Path, node: Node, causal: bool) -> None:
    """`tokenizer.json` and `tokenizer_config.json`; nothing for a tokenizer without a vocabulary.

    The files of a tokenizer that was imported are written as they came. Others differ from training in three
    things: special tokens in a text are one token (in training such strings are plain text), no stock
    tokenizer cuts to `model_max_length` unless a call says `truncation=True`, and an empty text has no token
    (we give it the end of text) unless it is a prompt.

    Args:
        folder: is there.
        node: of a text tokenizer.
        causal: texts are prompts of a language model. Ours begin with the end of text; so do the tokenizer's,
            unless it came with special tokens of its own or was imported.
    """
    vocabulary, max_len = arguments(node)["vocabulary"], arguments(node)["max_len"]
    if vocabulary is None:
        return
    if is_imported(vocabulary):
        short = max_len if arguments(node)["learned_positions"] else None
        _write_files(folder, _imported(vocabulary, causal, short))
        return
    fast = _finished(vocabulary["tokenizer"], vocabulary["eos_token"], causal)
    side = "left" if causal else "right"  # what is generated follows the prompt
    save(folder, fast, vocabulary, side, model_max_length=max_len, **_start(vocabulary, causal))


def write_prompts(folder: Path, node: Node) -> None:
    """Of a captioner: behind a prompt stands the end of text, where what is written starts."""
    vocabulary, max_len = arguments(node)["vocabulary"], arguments(node)["max_len"]
    eos = vocabulary["eos_token"]
    fast = _finished(vocabulary["tokenizer"], eos, False, is_imported(vocabulary))
    fast.post_processor = processors.TemplateProcessing(
        single=f"$A {eos}", special_tokens=[(eos, fast.token_to_id(eos))]
    )
    if not is_imported(vocabulary):
        save(folder, fast, vocabulary, "left", model_max_length=max_len)
        return
    pad = vocabulary.get("pad_token", eos)
    changed = {"tokenizer_class": GENERIC, "padding_side": "left", "model_max_length": max_len}
    files = _files(vocabulary) | {TOKENIZER: fast.to_str()}
    _write_files(folder, with_settings(files, **changed, eos_token=eos, pad_token=pad))


def is_imported(vocabulary: Mapping[str, str]) -> bool:
    """Whether the vocabulary has the files of the tokenizer that it came from."""
    return SETTINGS in vocabulary


def _files(vocabulary: Mapping[str, str]) -> dict[str, str]:
    return {name: vocabulary[name] for name in FILES if name in vocabulary}


def _imported(vocabulary: Mapping[str, str], causal: bool, max_len: int | None) -> dict[str, str]:
    """The files as they came, but for what the model cannot do.

    Args:
        vocabulary: with its files.
        causal: texts are prompts, which may begin with the end of text; no other task puts it there.
        max_len: of learned positions; None where there are none.
    """
    files = _files(vocabulary)
    if not causal:
        files[TOKENIZER] = without_start(files[TOKENIZER], vocabulary["eos_token"])
    longest = json.loads(files[SETTINGS]).get("model_max_length")
    if max_len is not None and isinstance(longest, int | float) and longest > max_len:
        files = with_settings(files, model_max_length=max_len)
    return files


def _write_files(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).write_bytes(text.encode())


def save(folder: Path, fast: FastTokenizer, vocabulary: Mapping[str, str], side: str, **more: Any) -> None:
    """The files of a stock fast tokenizer that pads on this side."""
    stock = PreTrainedTokenizerFast(
        tokenizer_object=fast,
        eos_token=vocabulary["eos_token"],
        pad_token=vocabulary.get("pad_token", vocabulary["eos_token"]),
        padding_side=side,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
        **more,
    )
    stock.save_pretrained(str(folder))


def _start(vocabulary: Mapping[str, str], causal: bool) -> dict[str, str]:
    """The token that a text begins with: its own, else in a language model the end of the one before it."""
    bos = vocabulary.get("bos_token", vocabulary["eos_token"] if causal else "")
    return {"bos_token": bos} if bos else {}


def _finished(text: str, eos: str, causal: bool, imported: bool = False) -> FastTokenizer:
    """The tokenizer with what `data` does to a text before it, and a task to its ids after it."""
    fast = FastTokenizer.from_str(text)
    fast.no_padding()
    fast.no_truncation()
    if fast.normalizer is None and not imported:  # which has its own way with texts
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
    vocabulary = arguments(node)["vocabulary"]
    imported, eos = is_imported(vocabulary), vocabulary["eos_token"]
    ours = _finished(vocabulary["tokenizer"], eos, causal and not imported, imported)
    start = [ours.token_to_id(eos)] if causal and imported else []  # some imported ones have it
    stock = AutoTokenizer.from_pretrained(str(folder))
    for text in texts:
        ids = ours.encode(text).ids
        if stock(text)["input_ids"] not in (ids, start + ids):
            raise ValueError(
                f"for this family transformers takes {type(stock).__name__}, which cuts {text[:40]!r} into "
                "other tokens than this vocabulary does; take another format, for instance format=qwen3 or "
                "format=portable."
            )


def without_start(text: str, eos: str) -> str:
    """Return a tokenizer.json without the end of text before a prompt, which `_finished` puts there."""
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

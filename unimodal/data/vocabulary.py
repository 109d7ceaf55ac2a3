"""Vocabularies: functions of the training data that give a `tokenizer.json`.

A tokenizer's yaml names one of them; before the model is built its result takes its place in the config, and
so in the checkpoint, which therefore needs neither the data nor this file again.
"""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer
from transformers.utils import cached_file

from unimodal.data.prepared import PreparedSamples
from unimodal.data.sources.base import Source
from unimodal.data.tokenizer_files import (
    FILES,
    SETTINGS,
    TOKENIZER,
    differing_ids,
    with_settings,
    without_code,
)

log = logging.getLogger(__name__)

MODEL = "config.json"
OPTIONAL = {  # a file that is not there is None
    "_raise_exceptions_for_missing_entries": False,
    "_raise_exceptions_for_connection_errors": False,
}
EOS = "<|endoftext|>"
UNKNOWN = "\N{REPLACEMENT CHARACTER}"
Vocabulary = dict[str, str]


def texts(source: Source) -> Iterator[str]:
    """The training texts.

    Raises:
        ValueError: if the samples have none.
    """
    samples = PreparedSamples(
        source.split("train"),
        {"text": None},
        source.on_bad_sample,
        max_skipped=source.max_skipped,
        allow_missing=source.allow_missing,
    )
    for sample in samples.good():
        yield from (part["text"] for part in sample.get("parts", [sample]) if "text" in part)


def byte_vocabulary(source: Source) -> Vocabulary:
    """The 256 bytes: every text can be written, nothing is learned."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    return _finish(_byte_level(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[])))


def bpe_vocabulary(source: Source, vocab_size: int = 1024, lower_case: bool = False) -> Vocabulary:
    """Byte-level byte-pair encoding trained on the data (Sennrich et al. 2015, arXiv 1508.07909).

    Args:
        source: whose training texts.
        vocab_size: ids at most; merging stops earlier where each word has one.
        lower_case: read all text in lower case; for classifiers, as what is decoded is in lower case too.
    """
    if vocab_size < 257:
        raise ValueError(
            f"tokenizer.vocabulary.vocab_size={vocab_size} must be at least 257: "
            "256 bytes and the end of text."
        )
    tokenizer = _byte_level(models.BPE())
    if lower_case:
        tokenizer.normalizer = normalizers.Lowercase()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 1, initial_alphabet=sorted(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator(texts(source), trainer)
    return _finish(tokenizer)


def character_vocabulary(source: Source) -> Vocabulary:
    """The characters of the training texts; any other is written as its bytes, so that none is lost."""
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    characters = sorted(set().union(*texts(source)))
    vocab = {token: i for i, token in enumerate([*fallback, *characters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return _finish(tokenizer)


def letter_vocabulary(source: Source, lower_case: bool = False) -> Vocabulary:
    """The characters of the training texts and no more, for texts to be written rather than read.

    Any other character becomes U+FFFD, so that a text that holds one cannot be met by accident. Runs of
    white space become one space.

    Args:
        source: whose training texts.
        lower_case: write everything in lower case.
    """
    steps = [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    normalizer = normalizers.Sequence([*steps, normalizers.Lowercase()] if lower_case else steps)
    letters = set().union(*(normalizer.normalize_str(text) for text in texts(source))) - {UNKNOWN}
    vocab = {token: i for i, token in enumerate([*sorted(letters), UNKNOWN])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token=UNKNOWN))
    tokenizer.normalizer, tokenizer.decoder = normalizer, decoders.Fuse()
    return _finish(tokenizer)


def pretrained_vocabulary(source: Source, path: str, eos_token: str | None = None) -> Vocabulary:
    """A Hugging Face fast tokenizer from a local folder, a `tokenizer.json`, or the hub.

    Args:
        source: not read.
        path: folder, file, or hub id.
        eos_token: by default the tokenizer's own end of text, or its separator.

    Returns:
        A vocabulary that takes the tokenizer's files along: an export writes them as they came.

    Raises:
        ValueError: if it is no fast tokenizer, or has no end of text.
    """
    files: dict[str, str] = {}
    if path.endswith(".json"):
        fast, known = Tokenizer.from_file(str(Path(path))), None
    else:
        stock = AutoTokenizer.from_pretrained(path)
        if not stock.is_fast:
            raise ValueError(f"{path} holds no fast tokenizer (tokenizer.json).")
        fast, known, files = stock.backend_tokenizer, stock.eos_token or stock.sep_token, _files_of(path)
    eos = eos_token or known
    if eos is None or fast.token_to_id(eos) is None:
        raise ValueError(f"{path} has no end-of-text token; name one with tokenizer.vocabulary.eos_token.")
    if eos_token and files:
        files = with_settings(files, eos_token=eos_token)
        files.pop("special_tokens_map.json", None)
    return {"tokenizer": fast.to_str(), "eos_token": eos, **files}


def _files_of(path: str) -> Vocabulary:
    """The tokenizer's files, to be exported unchanged; none of an older folder without tokenizer.json."""
    found = {name: cached_file(path, name, **OPTIONAL) for name in (*FILES, MODEL)}
    files = {name: Path(file).read_bytes().decode() for name, file in found.items() if file}
    config = json.loads(files.pop(MODEL, "{}"))
    if TOKENIZER not in files or SETTINGS not in files:
        return {}
    why = differing_ids(without_code(files), config)
    if why:
        log.warning("tokenizer.vocabulary.path=%s: %s; this run has the ids of AutoTokenizer.", path, why)
    return without_code(files)


def _byte_level(model: models.BPE) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _finish(tokenizer: Tokenizer) -> Vocabulary:
    tokenizer.add_special_tokens([AddedToken(EOS, special=True, normalized=False)])
    return {"tokenizer": json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False), "eos_token": EOS}

"""What CTC writes, as a stock fast tokenizer: its decoder merges repeats and drops blanks."""

from collections.abc import Mapping
from pathlib import Path

from tokenizers import Tokenizer as FastTokenizer
from tokenizers import decoders

from unimodal.hub.processors.text import save


def write_transcripts(folder: Path, vocabulary: Mapping[str, str]) -> None:
    """`tokenizer.json` and `tokenizer_config.json`, for letters and for pieces of words alike.

    `decode` takes the likeliest label of each frame, as `pipeline("automatic-speech-recognition")` gives
    them. The end of text is the blank, and padding.

    Args:
        folder: is there.
        vocabulary: of the task.
    """
    eos = vocabulary["eos_token"]
    fast = FastTokenizer.from_str(vocabulary["tokenizer"])
    fast.no_padding()
    fast.no_truncation()
    merged = decoders.CTC(pad_token=eos, word_delimiter_token=eos, cleanup=False)
    own = [] if fast.decoder is None else [fast.decoder]
    fast.decoder = decoders.Sequence([merged, *own])
    save(folder, fast, {"eos_token": eos}, "right")

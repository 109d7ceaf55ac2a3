"""Sentences as CoNLL's shared tasks write them: a word and its tag on each line, blank lines between."""

from collections.abc import Iterable, Iterator
from typing import Any

NO_SENTENCE = "-DOCSTART-"


def conll_rows(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """The line at which each sentence ends and its `tokens` and `tags`, or what is wrong with that line.

    Columns are parted by spaces or tabs; the first is the word, the last its tag, others are not read.
    """
    tokens, tags, number = list[str](), list[str](), 0
    for number, line in enumerate([*lines, ""], 1):
        values = line.split()
        if values and values[0] != NO_SENTENCE:
            if len(values) < 2:
                yield number, f"has the word {values[0]!r} without a tag."
                continue
            tokens.append(values[0])
            tags.append(values[-1])
        elif tokens:
            yield number - 1, {"tokens": tokens, "tags": tags}
            tokens, tags = [], []

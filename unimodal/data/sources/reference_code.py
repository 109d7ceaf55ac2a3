"""Which words of CPython's reference text are code, and which are the terms that a passage is about?"""

import re
from collections.abc import Sequence
from pydoc_data.topics import topics

from unimodal.data.sources.base import EMBEDDED_SPLITS, Source, check_split, hash_split
from unimodal.data.sources.reference_text import distinct_topics, paragraphs_of
from unimodal.types import Sample

MARKED = re.compile(r'"(?P<CODE>[^"]+)"|(?<![\w*])\*(?P<TERM>[^*\s](?:[^*]*[^*\s])?)\*(?![\w*])')
WORD = re.compile(r"\S+")
PROSE = re.compile(r'[A-Z*].*[.:]["*)]?')
NO_PROSE = ("::=", ">>>", "+--", "|", "==", "#")
MIN_WORDS = 8


class ReferenceCode(Source):
    """Paragraphs of the reference without their markup: `text`, and `spans`, (start, end, tag) of each word.

    In the reference's text code stands between quotes, "None", and a parameter or a new term between
    asterisks, *iterable*. These marks say what the words between them are, B-CODE I-CODE or B-TERM I-TERM,
    and are taken out of the text; all other words are O. Words are what stands between spaces. Much of that
    code reads like English: is, in, with, class.

    The text differs a little between Python versions, as for `ReferenceText`. A paragraph's split is the hash
    of its text; none stands there twice.

    Args:
        val_fraction: share of paragraphs in "val".
    """

    def __init__(self, val_fraction: float = 0.2) -> None:
        self.region_names = ["O", "B-CODE", "I-CODE", "B-TERM", "I-TERM"]
        self.samples: dict[str, list[Sample]] = {name: [] for name in EMBEDDED_SPLITS}
        marked = dict.fromkeys(one for name in distinct_topics() for one in _prose(topics[name]))
        for paragraph in marked:
            sample = unmarked(paragraph)
            if '"' not in sample["text"]:  # else marks are nested or left open
                self.samples[hash_split(sample["text"], val_fraction)].append(sample)

    def split(self, name: str) -> Sequence[Sample]:
        """The paragraphs of "train" or "val"; ValueError for another name."""
        return self.samples[check_split(name)]


def _prose(topic: str) -> list[str]:
    """Paragraphs that are sentences, on one line each; grammar, examples and tables are not."""
    joined = [" ".join(paragraph.split()) for paragraph in paragraphs_of(topic)]
    return [
        one
        for one in joined
        if PROSE.fullmatch(one)
        and len(one.split()) >= MIN_WORDS
        and not any(sign in one for sign in NO_PROSE)
    ]


def unmarked(paragraph: str) -> Sample:
    """A paragraph without its marks, and what they say of each word."""
    text, marks, end = "", list[tuple[int, int, str]](), 0
    for mark in MARKED.finditer(paragraph):
        text += paragraph[end : mark.start()]
        content = mark[str(mark.lastgroup)]
        marks.append((len(text), len(text) + len(content), str(mark.lastgroup)))
        text, end = text + content, mark.end()
    text += paragraph[end:]
    return {
        "text": text,
        "spans": [(*word.span(), _tag(*word.span(), marks)) for word in WORD.finditer(text)],
    }


def _tag(start: int, end: int, marks: Sequence[tuple[int, int, str]]) -> str:
    """Of a word: B where a mark begins in it, I where it goes on."""
    touching = [mark for mark in marks if mark[0] < end and mark[1] > start]
    if not touching:
        return "O"
    first, _, kind = touching[0]
    return f"B-{kind}" if first >= start else f"I-{kind}"

"""The Python language reference that CPython carries for `help()`: English prose with code, offline."""

import re
from collections.abc import Sequence
from pydoc_data.topics import topics

from unimodal.data.sources.base import EMBEDDED_SPLITS, check_at_least, check_split, hash_split
from unimodal.types import Sample


class ReferenceText:
    """Whole topics of the reference as documents for language modelling: `text`, without a label.

    The text is the running interpreter's and differs a little between Python versions (3.11: 57 topics,
    373,000 characters); compare figures within one version only. Topics that repeat a part of a longer one
    are left out, so that "val" holds nothing that "train" has.

    Attributes:
        topic_names: for each split its topics, longest first.
    """

    def __init__(self, val_fraction: float = 0.1, distinct: bool = True) -> None:
        self.class_names: list[str] = []
        names = distinct_topics() if distinct else sorted(topics, key=lambda name: (-len(topics[name]), name))
        splits = {topic: hash_split(topic, val_fraction) for topic in names}
        self.topic_names = {name: [t for t, s in splits.items() if s == name] for name in EMBEDDED_SPLITS}

    def split(self, name: str) -> Sequence[Sample]:
        """The documents of "train" or "val"; ValueError for another name."""
        return [{"text": topics[topic]} for topic in self.topic_names[check_split(name)]]


class ReferencePassages:
    """Passages of the reference's longest topics: `text`, and as `label` the topic it is from.

    Neighbouring paragraphs are joined while they fit into `passage_chars`; one that is longer is cut between
    lines. The text differs a little between Python versions, as for `ReferenceText`. Long topics have more
    passages (3.11: 1,125 in all, 272 of the longest topic and 56 of the eighth), so compare an accuracy with
    the share of the largest class.

    Args:
        num_topics: classes, the longest topics; at least 2.
        passage_chars: the longest passage in characters, at least 160, more than any line.
        val_fraction: share of "val"; a passage's split is the hash of its text.
    """

    def __init__(self, num_topics: int = 8, passage_chars: int = 300, val_fraction: float = 0.2) -> None:
        check_at_least(2, num_topics=num_topics)
        check_at_least(160, passage_chars=passage_chars)
        self.class_names = distinct_topics()[:num_topics]
        self.samples: dict[str, list[Sample]] = {name: [] for name in EMBEDDED_SPLITS}
        for label, topic in enumerate(self.class_names):
            for text in _passages(topics[topic], passage_chars):
                self.samples[hash_split(text, val_fraction)].append({"text": text, "label": label})

    def split(self, name: str) -> Sequence[Sample]:
        """The passages of "train" or "val"; ValueError for another name."""
        return self.samples[check_split(name)]


def distinct_topics() -> list[str]:
    """Names of the reference's topics, longest first, without those that mostly repeat a longer one.

    "while", for one, is a section of "compound" under its own name.
    """
    names: list[str] = []
    seen: set[str] = set()
    for name in sorted(topics, key=lambda name: (-len(topics[name]), name)):
        paragraphs = [" ".join(paragraph.split()) for paragraph in _paragraphs(topics[name])]
        new = sum(len(paragraph) for paragraph in paragraphs if paragraph not in seen)
        if 2 * new > sum(map(len, paragraphs)):
            names.append(name)
        seen.update(paragraphs)
    return names


def _paragraphs(text: str) -> list[str]:
    """Pieces of `text` between blank lines."""
    return [piece for piece in re.split(r"\n\s*\n", text.strip("\n")) if piece.strip()]


def _passages(text: str, limit: int) -> list[str]:
    """Paragraphs, or pieces of those that are too long, joined up to `limit` characters."""
    pieces = [piece for p in _paragraphs(text) for piece in _pack(p.split("\n"), "\n", limit)]
    return _pack(pieces, "\n\n", limit)


def _pack(pieces: list[str], separator: str, limit: int) -> list[str]:
    """Join neighbours, first come first served, as long as the result has at most `limit` characters."""
    packed: list[str] = []
    for piece in pieces:
        if packed and len(packed[-1]) + len(separator) + len(piece) <= limit:
            packed[-1] += separator + piece
        else:
            packed.append(piece)
    return packed

"""The Python language reference that CPython carries for `help()`: English prose with code, offline."""

import re
from collections.abc import Sequence
from pydoc_data.topics import topics

from unimodal.data.sources.base import EMBEDDED_SPLITS, Source, check_at_least, check_split, hash_split
from unimodal.types import Sample


class ReferenceText(Source):
    """Whole topics of the reference as documents for language modelling: `text`, without a label.

    The last topics by name are held out as "val". Some topics repeat a section of a longer one ("while"
    stands in "compound"), so that a part of "val" may stand in "train" too; `distinct` leaves such topics
    out, which makes the task much harder. The text is the running interpreter's and differs a little between
    Python versions (3.11: 79 topics, 466,000 bytes; distinct: 57, 374,000): compare within one version only.

    Args:
        val_fraction: share of topics held out, between 0 and 1.
        distinct: leave out topics that mostly repeat a longer one.

    Attributes:
        topic_names: for each split its topics, by name.
    """

    def __init__(self, val_fraction: float = 0.1, distinct: bool = False) -> None:
        self.class_names: list[str] = []
        names = sorted(distinct_topics() if distinct else topics)
        num_train = round((1 - val_fraction) * len(names))
        if not 0 < num_train < len(names):
            raise ValueError(f"val_fraction={val_fraction} leaves a split without topics.")
        self.topic_names = {"train": names[:num_train], "val": names[num_train:]}

    def split(self, name: str) -> Sequence[Sample]:
        """The documents of "train" or "val"; ValueError for another name."""
        return [{"text": topics[topic]} for topic in self.topic_names[check_split(name)]]


class ReferencePassages(Source):
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
        paragraphs = [" ".join(paragraph.split()) for paragraph in paragraphs_of(topics[name])]
        new = sum(len(paragraph) for paragraph in paragraphs if paragraph not in seen)
        if 2 * new > sum(map(len, paragraphs)):
            names.append(name)
        seen.update(paragraphs)
    return names


def paragraphs_of(text: str) -> list[str]:
    """Pieces of `text` between blank lines."""
    return [piece for piece in re.split(r"\n\s*\n", text.strip("\n")) if piece.strip()]


def _passages(text: str, limit: int) -> list[str]:
    """Paragraphs, or pieces of those that are too long, joined up to `limit` characters."""
    pieces = [piece for p in paragraphs_of(text) for piece in _pack(p.split("\n"), "\n", limit)]
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

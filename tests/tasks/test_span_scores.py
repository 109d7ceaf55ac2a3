import itertools

import pytest
import torch

from unimodal.tasks.span_scores import Span, SpanScores, are_span_tags, spans_of


def conlleval(tags):
    """The published script's two tables, `startOfChunk` and `endOfChunk`, as seqeval has them too."""
    found, begin, before, kind_before = [], 0, "O", ""
    for place, tag in enumerate([*tags, "O"]):
        now, _, kind = tag.partition("-")
        ends = before in ("E", "S")
        ends |= before in ("B", "I") and now in ("B", "S", "O")
        ends |= before != "O" and kind_before != kind
        starts = now in ("B", "S")
        starts |= before in ("E", "S", "O") and now in ("E", "I")
        starts |= now != "O" and kind_before != kind
        if ends:
            found.append((kind_before, begin, place))
        if starts:
            begin = place
        before, kind_before = now, kind
    return found


@pytest.mark.parametrize("length", range(6))
def test_spans_are_those_of_conlleval_for_every_sequence_of_tags(length):
    tags = (
        ["O", "B-X", "I-X", "E-X", "S-X", "B-Y", "I-Y"] if length < 5 else ["O", "B-X", "I-X", "E-X", "I-Y"]
    )
    for sequence in itertools.product(tags, repeat=length):
        assert [tuple(span) for span in spans_of(sequence)] == conlleval(sequence), sequence


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [
        ("", []),
        ("O O", []),
        ("B-PER I-PER O B-LOC", [("PER", 0, 2), ("LOC", 3, 4)]),
        ("B-PER B-PER", [("PER", 0, 1), ("PER", 1, 2)]),
        ("I-PER I-PER O", [("PER", 0, 2)]),
        ("B-PER I-LOC", [("PER", 0, 1), ("LOC", 1, 2)]),
        ("O I-A-B I-A-B", [("A-B", 1, 3)]),
        ("S-PER B-PER I-PER E-PER", [("PER", 0, 1), ("PER", 1, 4)]),
        ("U-PER B-PER L-PER I-PER", [("PER", 0, 1), ("PER", 1, 3), ("PER", 3, 4)]),
    ],
)
def test_spans_of_hand_made_cases(tags, wanted):
    assert spans_of(tags.split()) == [Span(*span) for span in wanted]


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["O", "B-X", "I-X"], True),
        (["S-X", "E-X"], True),
        (["O"], False),
        (["O", "B", "C"], False),
        (["NOUN", "B-X"], False),
    ],
)
def test_which_tags_say_spans(names, wanted):
    assert are_span_tags(names) == wanted


def test_scores_count_whole_spans_with_the_right_label():
    scores = SpanScores()
    scores.update(["B-X", "I-X", "O", "B-Y"], ["B-X", "I-X", "O", "B-X"])  # 1 of 2, 2 said
    scores.update(["O", "B-X", "I-X"], ["O", "B-X", "O"])  # 0 of 1, 1 said
    figures = scores.compute()
    assert torch.allclose(figures["precision"], torch.tensor(1 / 3))
    assert torch.allclose(figures["recall"], torch.tensor(1 / 3))
    assert torch.allclose(figures["f1"], torch.tensor(1 / 3))


def test_spans_of_two_sentences_do_not_run_together():
    scores = SpanScores()
    scores.update(["B-X"], ["B-X"])
    scores.update(["I-X"], ["I-X"])
    assert scores.counts.tolist() == [2, 2, 2]


def test_nothing_to_find_and_nothing_found_scores_zero():
    scores = SpanScores()
    scores.update(["O", "O"], ["O", "O"])
    assert all(value == 0 for value in scores.compute().values())

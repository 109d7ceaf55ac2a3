from collections import Counter

import pytest

from unimodal.data.sources.reference_text import ReferencePassages, ReferenceText, distinct_topics


def test_val_has_about_a_tenth_of_the_text():
    train, val = (
        sum(len(s["text"]) for s in ReferenceText(distinct=True).split(name)) for name in ("train", "val")
    )
    assert 0.08 < val / (train + val) < 0.12


def test_every_distinct_topic_is_in_one_split():
    names = ReferenceText(distinct=True).topic_names
    assert sorted(names["train"] + names["val"]) == sorted(distinct_topics())


def test_val_repeats_hardly_a_paragraph_of_train():
    train, val = (
        {
            " ".join(p.split())
            for s in ReferenceText(distinct=True).split(name)
            for p in s["text"].split("\n\n")
        }
        for name in ("train", "val")
    )
    repeated = sum(map(len, (p for p in val & train)))
    assert repeated < 0.01 * sum(map(len, val))


def test_a_section_under_its_own_name_is_left_out():
    assert "compound" in distinct_topics()
    assert not {"while", "if", "try"} & set(distinct_topics())


def test_passages_keep_to_their_length():
    for name in ("train", "val"):
        lengths = [len(sample["text"]) for sample in ReferencePassages().split(name)]
        assert max(lengths) <= 300
        assert sum(lengths) / len(lengths) > 150


def test_every_class_is_in_both_splits():
    source = ReferencePassages(num_topics=6)
    assert source.class_names == distinct_topics()[:6]
    for name in ("train", "val"):
        counts = Counter(sample["label"] for sample in source.split(name))
        assert sorted(counts) == list(range(6))
        assert max(counts.values()) < 0.4 * counts.total()


def test_val_has_about_a_fifth_of_the_passages():
    source = ReferencePassages()
    sizes = {name: len(source.split(name)) for name in ("train", "val")}
    assert 0.15 < sizes["val"] / sum(sizes.values()) < 0.25


def test_a_single_topic_is_refused():
    with pytest.raises(ValueError, match="num_topics=1"):
        ReferencePassages(num_topics=1)

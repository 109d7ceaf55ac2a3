import logging

import pytest

from unimodal.data.decoding.encoded import BadSample
from unimodal.data.prepared import PreparedSamples


class Rows(list):
    """Numbers, some of which cannot be read."""

    def __getitem__(self, index):
        value = super().__getitem__(index)
        if value is None:
            raise BadSample(f"row {index}: is broken")
        return {"number": value, "label": value}


class Preprocess:
    field = "number"


def prepared(values, **options):
    return PreparedSamples(Rows(values), {"number": Preprocess()}, **options)


def test_good_samples_pass():
    assert [sample["number"] for sample in prepared([1, 2, 3])] == [1, 2, 3]


def test_a_bad_sample_is_an_error_that_names_the_way_out():
    with pytest.raises(BadSample, match=r"row 1: is broken \(data.on_bad_sample=skip leaves it out\)"):
        prepared([1, None, 3])[1]


def test_the_next_good_sample_stands_in_by_rule(caplog):
    samples = prepared([1, None, 3] + [4] * 200, on_bad_sample="skip")
    with caplog.at_level(logging.WARNING):
        assert [samples[1]["number"] for _ in range(3)] == [3, 3, 3]
    assert [record.message for record in caplog.records] == ["skipped: row 1: is broken"]


def test_the_last_sample_is_replaced_by_the_first():
    assert prepared([7] + [1] * 200 + [None], on_bad_sample="skip")[201]["number"] == 7


def test_a_substitute_does_not_count_in_validation():
    samples = prepared([1, None, 3] + [4] * 200, on_bad_sample="skip", training=False)
    assert samples[1]["counted"] is False and "counted" not in samples[2]


def test_more_than_one_in_a_hundred_is_too_many():
    samples = prepared([None, None, *[1] * 50], on_bad_sample="skip")
    with pytest.raises(ValueError, match=r"2 of 52 samples cannot be used, more than 1%"):
        samples[0]


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match=r"data\.on_bad_sample=ignore"):
        prepared([1], on_bad_sample="ignore")

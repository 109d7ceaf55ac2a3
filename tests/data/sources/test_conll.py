import pytest

from unimodal.data.sources.conll import conll_rows
from unimodal.data.sources.table import TableSource

TEXT = "-DOCSTART- -X- O O\n\nEU NNP I-NP B-ORG\nrejects VBZ I-VP O\n\n\nPeter\tB-PER\n"


def test_sentences_are_parted_by_blank_lines_and_the_last_column_is_the_tag():
    assert list(conll_rows(TEXT.splitlines(keepends=True))) == [
        (4, {"tokens": ["EU", "rejects"], "tags": ["B-ORG", "O"]}),
        (7, {"tokens": ["Peter"], "tags": ["B-PER"]}),
    ]


def test_a_word_without_a_tag_is_said_with_its_line():
    assert list(conll_rows(["a O\n", "b\n", "c O\n"])) == [
        (2, "has the word 'b' without a tag."),
        (3, {"tokens": ["a", "c"], "tags": ["O", "O"]}),
    ]


def test_an_empty_file_has_no_sentence():
    assert list(conll_rows([])) == []


def test_files_called_like_splits_are_a_data_set(tmp_path):
    for name in ("train", "dev"):
        (tmp_path / f"{name}.conll").write_text(TEXT)
    source = TableSource(str(tmp_path))
    assert source.region_names == ["O", "B-ORG", "B-PER"] and source.split_names == ("train", "val")
    sample = source.split("val")[0]
    assert sample == {"text": "EU rejects", "spans": [(0, 2, "B-ORG"), (3, 10, "O")]}


def test_the_line_of_what_is_wrong_stops_the_run(tmp_path):
    (tmp_path / "a.conll").write_text("a O\nb\n")
    source = TableSource(str(tmp_path / "a.conll"), val_fraction=None)
    with pytest.raises(ValueError, match=r"a.conll line 2: has the word 'b' without a tag"):
        source.split("val")

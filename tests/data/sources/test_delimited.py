"""Quotation marks in csv and tsv files."""

import csv

import pandas as pd
import pytest

from unimodal.data.sources.table import TableSource
from unimodal.data.sources.tables import read_table

PROPER = [
    ["plain", "1"],
    ["with\ttab", "2"],
    ["two\nlines", "3"],
    ["two\r\nlines", "4"],
    ['a "quoted" word', "5"],
    ['"all quoted"', "6"],
    ['"', "7"],
    ["three\n\nlines", "8"],
    ["", "9"],
    ["last", "two\nlines"],
]


def written(path, lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def stray(num=60):
    """Every tenth line begins with a quotation mark, and every tenth text ends with one, two lines later."""
    texts = [f"text {i}" for i in range(num)]
    texts[3::10] = [f'"{text}' for text in texts[3::10]]
    texts[5::10] = [f'{text}"' for text in texts[5::10]]
    return texts


def test_stray_quotation_marks_of_a_tsv_file_are_characters(tmp_path):
    path = written(
        tmp_path / "a.tsv", ["text\tlabel", *(f"{text}\t{i % 2}" for i, text in enumerate(stray()))]
    )
    table = read_table(path)
    assert table.column("text") == stray() and not table.problems
    assert table.where(59) == f"{path} line 61"
    assert sum(len(TableSource(str(path)).split(name)) for name in ("train", "val")) == 60


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_properly_quoted_values_are_read_as_written(tmp_path, suffix, quoting):
    path = tmp_path / f"a.{suffix}"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t" if suffix == "tsv" else ",", quoting=quoting)
        writer.writerows([["text", "label"], *PROPER])
    table = read_table(path)
    assert [list(table.row(i).values()) for i in range(len(table))] == PROPER and not table.problems


def test_a_table_that_pandas_wrote_is_read_as_written(tmp_path):
    pd.DataFrame(PROPER, columns=["text", "label"]).to_csv(tmp_path / "a.tsv", sep="\t", index=False)
    table = read_table(tmp_path / "a.tsv")
    assert [list(table.row(i).values()) for i in range(len(table))] == PROPER


@pytest.mark.parametrize(
    ("line", "row"),
    [
        ('"never closed\tx', ['"never closed', "x"]),
        ('"a" b\t"c"', ['"a" b', "c"]),
        ('5"\t6"', ['5"', '6"']),
        ('""quoted twice""\tx', ['""quoted twice""', "x"]),
        ('"one\ttab"\tx', ["one\ttab", "x"]),
        ('"a\tb"', ['"a', 'b"']),
    ],
)
def test_a_value_is_unquoted_only_where_it_is_quoted_properly(tmp_path, line, row):
    path = written(tmp_path / "a.tsv", ["text\tlabel", line, "next\ty"])
    table = read_table(path)
    assert [list(table.row(i).values()) for i in range(len(table))] == [row, ["next", "y"]]


def test_a_ragged_line_does_not_let_a_quotation_mark_swallow_the_rows_around_it(tmp_path):
    path = written(tmp_path / "a.tsv", ["text\tlabel", '"a\t1', "b\t1", "ragged", 'c"\t1', "d\t1"])
    table = read_table(path)
    assert table.column("text") == ['"a', "b", 'c"', "d"]
    assert [problem.rpartition("line ")[2][:1] for problem in table.problems] == ["4"]


def test_a_single_column_whose_quotation_marks_can_be_read_in_two_ways_is_refused(tmp_path):
    path = written(tmp_path / "a.tsv", ["text", "a", '"b', "c", 'd"', "e"])
    with pytest.raises(
        ValueError, match=r"one quoted value would reach from line 3 to line 5, or these are 3 rows"
    ):
        read_table(path)


def test_lines_of_a_csv_file_that_a_quotation_mark_joins_are_pointed_out(tmp_path):
    path = written(
        tmp_path / "a.csv", ["text,label", *(f"{text},{'ab'[i % 2]}" for i, text in enumerate(stray()))]
    )
    notes = TableSource(str(path)).notes
    assert any(
        "6 quoted values extend over lines that each look like a row, the first from line 5" in n
        for n in notes
    )

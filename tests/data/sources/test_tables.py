import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unimodal.data.sources.joined import JoinedRows
from unimodal.data.sources.table import TableSource
from unimodal.data.sources.tables import read_table

TEXTS = [f"this is number {i}" for i in range(20)]


def write(path, text, encoding="utf-8"):
    path.write_text(text, encoding=encoding)
    return path


def csv_of(path, header="text,label", rows=None):
    lines = rows or [f"{text},{'odd' if i % 2 else 'even'}" for i, text in enumerate(TEXTS)]
    return write(path, "\n".join([header, *lines]) + "\n")


def test_one_table_whatever_its_format(tmp_path):
    rows = [{"text": text, "label": "odd" if i % 2 else "even"} for i, text in enumerate(TEXTS)]
    csv_of(tmp_path / "a.csv")
    csv_of(tmp_path / "a.tsv", "text\tlabel", ["\t".join(row.values()) for row in rows])
    write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    read = [read_table(tmp_path / f"a.{kind}") for kind in ("csv", "tsv", "jsonl", "parquet")]
    for table in read:
        assert [table.row(i) for i in range(len(table))] == rows
        assert table.column("label") == [row["label"] for row in rows]


def test_a_byte_order_mark_and_carriage_returns_are_no_part_of_a_table(tmp_path):  # FAULTS 30
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbftext,label\r\nhello,a\r\nworld,b\r\n")
    table = read_table(tmp_path / "a.csv")
    assert table.column_names == ["text", "label"]
    assert table.row(1) == {"text": "world", "label": "b"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,text\na,b\n", "has the column 'text' twice"),
        ("text;label\na;b\n", "its delimiter seems to be ';'"),
        ("", "is empty; its first line must name the columns"),
    ],
)
def test_a_bad_header_is_said(tmp_path, content, message):  # FAULTS 37
    with pytest.raises(ValueError, match=message):
        read_table(write(tmp_path / "a.csv", content))


def test_a_missing_column_names_what_there_is(tmp_path):  # FAULTS 37
    path = csv_of(tmp_path / "a.csv")
    with pytest.raises(ValueError, match=r"no column 'lable'; did you mean label\? It has text, label"):
        TableSource(str(path), columns={"label": "lable"})


def test_a_ragged_line_is_named(tmp_path):  # FAULTS 48
    path = csv_of(tmp_path / "a.csv", rows=["a,x", "b,y,z", "c,x"])
    table = read_table(path)
    assert len(table) == 2
    assert "line 3: has 3 values; the header has 2" in table.problems[0]
    with pytest.raises(ValueError, match="1 rows cannot be used"):
        TableSource(str(path)).split("train")


def test_a_quote_left_open_is_an_error_whatever_the_policy(tmp_path):  # FAULTS 48
    path = csv_of(tmp_path / "a.csv", rows=[*[f"{i},x" for i in range(300)], '"d,y', *["e,x"] * 900])
    with pytest.raises(ValueError, match=r"line 1202 is no valid csv"):
        TableSource(str(path), on_bad_sample="skip")


def test_half_a_surrogate_pair_is_named_by_its_line(tmp_path):  # FAULTS 31
    lines = [f'{{"text": "t{i}", "label": {i % 2}}}' for i in range(20)] + ['{"text": "\\ud800", "label": 1}']
    path = write(tmp_path / "a.jsonl", "\n".join(lines))
    [problem] = TableSource(str(path)).problems
    assert "line 21: character 0 is half of a surrogate pair" in problem


def test_a_line_that_is_no_json_is_named(tmp_path):
    table = read_table(write(tmp_path / "a.jsonl", '{"text": "a"}\n{"text": \n[1]\n{"text": "b"}'))
    assert [table.row(i)["text"] for i in range(2)] == ["a", "b"]
    assert "line 2: is no valid JSON" in table.problems[0]
    assert "line 3: is no JSON object, but a list" in table.problems[1]


def test_rows_are_called_by_file_and_line(tmp_path):
    path = csv_of(tmp_path / "a.csv", rows=['"two\nlines",a', "c,b"])
    table = read_table(path)
    assert table.where(1) == f"{path} line 4"


def test_a_table_that_is_not_utf8_names_the_byte(tmp_path):  # FAULTS 31
    path = write(tmp_path / "a.csv", "text,label\ncaf\u00e9,a\n", "latin-1")
    with pytest.raises(ValueError, match="is not UTF-8 \\(byte 14\\)"):
        read_table(path)


def test_columns_that_only_some_lines_have(tmp_path):
    table = read_table(write(tmp_path / "a.jsonl", '{"a": 1}\n{"a": 2, "b": 3}\n{"b": 4}'))
    assert [table.row(i) for i in range(3)] == [{"a": 1, "b": None}, {"a": 2, "b": 3}, {"a": None, "b": 4}]


def test_joined_tables_are_one(tmp_path):
    write(tmp_path / "a.jsonl", '{"a": 1}\n{"a": 2}')
    write(tmp_path / "b.jsonl", '{"a": 3, "b": 4}')
    joined = JoinedRows([read_table(tmp_path / f"{name}.jsonl") for name in "ab"])
    assert [joined.row(i) for i in range(3)] == [{"a": 1, "b": None}, {"a": 2, "b": None}, {"a": 3, "b": 4}]
    assert joined.column("b") == [None, None, 4]
    assert joined.where(2).endswith("b.jsonl line 1")


def test_many_rows_take_little_memory(tmp_path):  # FAULTS 48
    csv_of(tmp_path / "a.csv", rows=[f"text {i},{i % 3}" for i in range(200_000)])
    table = read_table(tmp_path / "a.csv")
    assert sum(column.nbytes for column in table.columns.values()) < 200_000 * 40
    assert table.row(199_999) == {"text": "text 199999", "label": "1"}

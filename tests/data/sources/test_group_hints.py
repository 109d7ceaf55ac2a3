"""Which columns and parts of file names are suggested as groups, and which are not."""

import re

import pytest

from unimodal.data.sources.folder import FolderSource
from unimodal.data.sources.group_hints import _pattern, column_hints, name_hints
from unimodal.data.sources.table import TableSource

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")


def hinted(names, classes=None):
    """The suggested pattern, and the groups that it gives."""
    classes = [name.split("/")[0] for name in names] if classes is None else classes
    lines = list(name_hints(names, classes))
    if not lines:
        return None, set()
    [line] = lines
    pattern = re.search(r"'data\.id_pattern=\"(.*)\"'", line)[1]
    groups = [re.search(pattern, name)[1] for name in names]
    assert f"{len(set(groups)):,} values" in line
    return pattern, set(groups)


def spoken(digits=10, takes=12):
    return [f"{d}/{d}_{name}_{i}.wav" for d in range(digits) for name in SPEAKERS for i in range(takes)]


def test_speakers_by_name_are_found():
    pattern, groups = hinted(spoken())
    assert groups == set(SPEAKERS)
    assert pattern == "(?:^|/)[^_/]*_([^_/.]+)[^/]*$"


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        ([f"{c}/S{s:02}_take{i}.mp4" for c in "ab" for s in range(6) for i in range(4)], 6),
        ([f"{c}/sub-{s:02}_ses-1_{i}.wav" for c in "ab" for s in range(6) for i in range(4)], 6),
        ([f"{c}/{i}_speaker{s}.wav" for c in "ab" for s in range(6) for i in range(4)], 6),
        ([f"{c}/patient_{s}/{i}.png" for c in "ab" for s in range(6) for i in range(4)], 6),
        (
            [
                f"{c}/patient_{6 * j + s}/{i}.png"
                for j, c in enumerate("ab")
                for s in range(6)
                for i in range(4)
            ],
            12,
        ),
    ],
)
def test_parts_that_are_named_as_groups_are_found(names, groups):
    assert len(hinted(names)[1]) == groups


def test_the_actor_of_a_coded_name_is_found():
    names = [
        f"emotion{e}/03-01-{e:02}-{level:02}-{words:02}-{again:02}-{actor:02}.wav"
        for e in range(1, 8)
        for level in (1, 2)
        for words in (1, 2)
        for again in (1, 2)
        for actor in range(1, 25)
    ]
    pattern, groups = hinted(names)
    assert groups == {f"{actor:02}" for actor in range(1, 25)}
    assert "{6}" in pattern


@pytest.mark.parametrize(
    "names",
    [
        [f"{c}/{c}_{i}.png" for c in ("cat", "dog", "cow") for i in range(30)],  # class and running number
        [f"{c}/IMG_{i:04}.jpg" for c in "ab" for i in range(30)],  # a constant and a running number
        [
            f"{c}/{17 * i + j}_{hash_:x}_m.jpg"
            for j, c in enumerate("ab")
            for i, hash_ in enumerate(range(9, 49))
        ],
        [
            f"{c}/{i}_{j}.wav" for c in "ab" for i in range(8) for j in range(8)
        ],  # numbers: either may be a count
        [f"{c}/S{30 * j + i:03}_x.wav" for j, c in enumerate("ab") for i in range(30)],  # groups of one
        ["_".join(f"{i:08b}") + ".wav" for i in range(0, 256, 5)],  # parts that are labels
        [f"{c}/{i}.png" for c in "ab" for i in range(30)],
        [
            f"{c}/{c}_{name}_{i}.wav"
            for c, name in (("x", "anna"), ("y", "bert"), ("z", "cora"))
            for i in range(9)
        ],
        [],
    ],
)
def test_classes_counts_constants_and_groups_of_one_are_not_suggested(names):
    classes = [name.split("/")[0] for name in names]
    assert hinted(names, classes) == (None, set())


def test_columns_are_suggested_by_name_and_values():
    classes = ["a", "b"] * 12
    groups = [str(i // 4) for i in range(24)]
    [line] = column_hints({"patient_id": groups}, classes)
    assert "6 values" in line and "data.columns.id=patient_id" in line
    for values in ([str(i) for i in range(24)], ["1"] * 24, classes, [None, *groups[1:]]):
        assert not list(column_hints({"patient_id": values}, classes))


def test_a_source_suggests_only_what_is_not_set_and_where_it_makes_the_split(tmp_path):
    rows = [f"some words {i},{'ab'[i % 2]},{i // 5}" for i in range(60)]
    path = tmp_path / "d.csv"
    path.write_text("\n".join(["text,label,Speaker", *rows]))
    [line] = TableSource(str(path)).hints()
    assert "data.columns.id=Speaker" in line
    assert TableSource(str(path), {"id": "Speaker"}).hints() == []
    path.write_text(
        "\n".join(
            ["text,label,Speaker,split", *(f"{r},{'train' if i else 'val'}" for i, r in enumerate(rows))]
        )
    )
    assert TableSource(str(path)).hints() == []


def test_texts_in_a_table_are_no_file_names(tmp_path):
    rows = [f"{i}_speaker{i % 4}_x,{'ab'[i % 2]}" for i in range(40)]
    (tmp_path / "d.csv").write_text("\n".join(["text,label", *rows]))
    assert TableSource(str(tmp_path / "d.csv")).hints() == []
    files = [f"{'ab'[i % 2]}/{i}_speaker{i // 10}.wav,{'ab'[i % 2]}" for i in range(40)]
    (tmp_path / "e.csv").write_text("\n".join(["file_name,label", *files]))
    for i, line in enumerate(files):
        path = tmp_path / line.split(",")[0]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes([i]))
    [line] = TableSource(str(tmp_path / "e.csv")).hints()
    assert "4 values (speaker0, speaker1, speaker2, ...)" in line


def test_the_suggested_pattern_of_a_folder_works(tmp_path):
    for name in spoken(digits=3, takes=4):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"text of {name}")
    [line] = FolderSource(str(tmp_path)).hints()
    pattern = re.search(r"'data\.id_pattern=\"(.*)\"'", line)[1]
    grouped = FolderSource(str(tmp_path), id_pattern=pattern)
    assert grouped.hints() == [] and any("1 of 6 groups" in note for note in grouped.notes)


@pytest.mark.parametrize(("separator", "index"), [("_", 0), ("_", 1), ("-", 6), (" ", 1)])
def test_the_override_can_be_pasted(configure, separator, index):
    pattern = _pattern(separator, index)
    config = configure("data=folder", "data.path=DIR", f'data.id_pattern="{pattern}"')
    assert config["data"]["id_pattern"] == pattern
    name = separator.join(f"{i:02}x" for i in range(8)) + ".wav"
    assert re.search(pattern, f"a{separator}b/{name}")[1] == f"{index:02}x"

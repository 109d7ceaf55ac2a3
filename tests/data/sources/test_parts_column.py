import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from unimodal.data.decoding.encoded import BadSample, Encoded
from unimodal.data.prepared import PreparedSamples
from unimodal.data.sources.hub import HubSource
from unimodal.data.sources.table import TableSource
from unimodal.tokenizers.image import ImagePreprocess

PREPROCESS = {"image": ImagePreprocess((8, 8)), "text": None}


@pytest.fixture
def pictures(tmp_path):
    """Forty grey pictures, each another grey."""
    (tmp_path / "photos").mkdir()
    for i in range(40):
        Image.new("RGB", (8, 8), (5 * i,) * 3).save(tmp_path / "photos" / f"{i}.png")
    return tmp_path


def parts_of(i):
    return [{"text": f"before {i}"}, {"image": f"photos/{i}.png"}, {"text": "after"}][i % 2 :]


def jsonl(folder, rows):
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def table(folder, parts, **options):
    rows = [{"parts": [{"text": "a"}], "label": "x", "split": "val"}]
    rows += [{"parts": parts, "label": "x", "split": "train"}]
    return TableSource(jsonl(folder, rows), **options)


def first(source):
    return source.split("train")[0]["parts"]


def test_jsonl_csv_parquet_and_hub_hold_the_same_samples(pictures):
    rows = [{"parts": parts_of(i), "label": "ab"[i % 2]} for i in range(40)]
    sources = [TableSource(jsonl(pictures, rows))]
    full = [{"image": None, "text": None} | part for row in rows for part in row["parts"]]
    assert any(part["image"] is None for part in full)
    pq.write_table(pa.Table.from_pylist(rows), pictures / "data.parquet")
    sources.append(TableSource(str(pictures / "data.parquet")))
    lines = ['"' + json.dumps(row["parts"]).replace('"', '""') + f'",{row["label"]}' for row in rows]
    (pictures / "data.csv").write_text("\n".join(["parts,label", *lines]))
    sources.append(TableSource(str(pictures / "data.csv")))
    wanted = list(PreparedSamples(sources[0].split("train"), PREPROCESS))
    assert {len(sample["parts"]) for sample in wanted} == {2, 3}
    for source in sources[1:]:
        assert source.fingerprint() == sources[0].fingerprint()
        for sample, other in zip(wanted, PreparedSamples(source.split("train"), PREPROCESS), strict=True):
            assert sample["label"] == other["label"]
            for part, same in zip(sample["parts"], other["parts"], strict=True):
                assert part.keys() == same.keys()
                assert all(
                    torch.equal(part[key], same[key]) if key == "image" else part == same for key in part
                )


def test_what_was_guessed_is_said(pictures):
    source = table(pictures, parts_of(0))
    assert any("columns guessed: parts=parts, label=label" in line for line in source.describe())


def test_files_are_not_opened_before_they_are_read(pictures):
    text, image, _ = first(table(pictures, parts_of(0)))
    assert text == {"text": "before 0"} and isinstance(image["image"], Encoded)


@pytest.mark.parametrize("name", ["../outside.png", "https://example.org/a.png", "/etc/hosts"])
def test_a_part_may_not_lie_outside(pictures, name):
    with pytest.raises(BadSample, match=r"lies outside|is a URL"):
        first(table(pictures, [{"text": "a"}, {"image": name}]))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], "must be a list such as"),
        ("no list", "no valid JSON"),
        ([{"image": "a.png", "text": "b"}], "part 0 has image, text; one of"),
        ([{"text": "a"}, {"label": "b"}], "part 1 has label"),
        (["a"], "part 0 has str"),
        ([{"text": None}], "part 0 has dict"),
        ([{"text": 3}], "has int where text is wanted"),
    ],
)
def test_what_is_no_list_of_parts_is_said_with_its_line(pictures, parts, message):
    with pytest.raises(BadSample, match=rf"data\.jsonl line 2: .*{message}"):
        first(table(pictures, parts))


def test_a_medium_beside_parts_gives_way_unless_it_is_said(pictures):
    rows = [{"parts": parts_of(i), "image": f"photos/{i}.png", "label": "x"} for i in range(40)]
    path = jsonl(pictures, rows)
    assert TableSource(path).columns.media == {"parts": "parts"}
    assert TableSource(path, {"image": "image"}).columns.media == {"image": "image"}
    with pytest.raises(ValueError, match=r"data\.columns\.image stands beside parts"):
        TableSource(path, {"image": "image", "parts": "parts"})


def test_the_content_of_parts_decides_the_split(pictures):
    rows = [{"parts": parts_of(i), "label": "x"} for i in range(40)]
    before, after = TableSource(jsonl(pictures, rows)), TableSource(jsonl(pictures, rows[::-1]))

    def val(source):
        return sorted(sample["parts"][-2]["image"].path for sample in source.split("val"))

    assert val(before) == val(after)


def test_cells_may_be_empty_where_that_is_allowed(pictures):
    path = pictures / "some.csv"
    rows = ["photos/1.png,one,train", ",two,train", "photos/3.png,,train", "photos/4.png,four,val"]
    path.write_text("\n".join(["image,text,split", *rows]))
    said = {"image": "image", "text": "text"}
    samples = list(TableSource(str(path), said, allow_missing=True).split("train"))
    assert [list(sample) for sample in samples] == [["image", "text"], ["text"], ["image"]]
    with pytest.raises(BadSample, match=r"line 3: has no image \(data\.allow_missing=true"):
        _ = TableSource(str(path), said).split("train")[1]


def test_a_row_without_anything_is_bad(pictures):
    path = pictures / "some.csv"
    path.write_text("image,text\nphotos/1.png,a\n,\n")
    source = TableSource(str(path), {"image": "image", "text": "text"}, val_fraction=None, allow_missing=True)
    with pytest.raises(BadSample, match=r"line 3: has none of image, text"):
        source.split("val")[1]


def test_a_saved_dataset_may_hold_parts(pictures):
    import datasets

    rows = [{"parts": [{"text": f"text {i}", "image": None}], "label": "ab"[i % 2]} for i in range(40)]
    datasets.Dataset.from_list(rows).save_to_disk(str(pictures / "saved"))
    assert first(HubSource(str(pictures / "saved")))[0]["text"].startswith("text")

import datasets
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from PIL import Image as Picture

from unimodal.data.decoding.encoded import Encoded
from unimodal.data.sampling import ResumableBatchSampler
from unimodal.data.sources.hub import HubSource, StreamRows

FEATURES = Features({"picture": Image(), "kind": ClassLabel(names=["cat", "dog"]), "note": Value("string")})


@pytest.fixture(autouse=True)
def quiet():
    datasets.disable_progress_bars()


def pictures(num=24, seed=0):
    return {
        "picture": [Picture.new("RGB", (8, 8), (i, seed, 0)) for i in range(num)],
        "kind": [i % 2 for i in range(num)],
        "note": [f"note {i}" for i in range(num)],
    }


def saved(folder, parts):
    made = {name: Dataset.from_dict(rows, features=FEATURES) for name, rows in parts.items()}
    (DatasetDict(made) if len(made) > 1 else next(iter(made.values()))).save_to_disk(folder)
    return str(folder)


def test_features_say_which_column_is_what(tmp_path):
    data = HubSource(saved(tmp_path / "d", {"train": pictures()}))
    assert data.class_names == ["cat", "dog"]
    assert dict(data.columns.media) == {"image": "picture"}
    sample = data.split("train")[0]
    assert isinstance(sample["image"], Encoded) and sample["image"].read()[:4] == b"\x89PNG"


def test_splits_are_kept(tmp_path):
    path = saved(tmp_path / "d", {"train": pictures(), "validation": pictures(6, 1), "test": pictures(8, 2)})
    data = HubSource(path)
    assert [len(data.split(name)) for name in ("train", "val", "test")] == [24, 6, 8]


def test_another_split_is_named(tmp_path):
    path = saved(tmp_path / "d", {"train": pictures(), "validation_matched": pictures(6, 1)})
    with pytest.raises(ValueError, match="'validation_matched' is no known split"):
        HubSource(path)
    assert HubSource(path, splits={"val": "validation_matched"}).split_names == ("train", "val")


def test_a_missing_class_is_a_problem(tmp_path):
    rows = pictures()
    rows["kind"][5] = -1
    data = HubSource(saved(tmp_path / "d", {"train": rows}))
    assert len(data.problems) == 1 and "row 5: has no label" in data.problems[0]


def test_a_stream_gives_the_same_samples(tmp_path):
    folder = tmp_path / "parquet"
    folder.mkdir()
    Dataset.from_dict(pictures(50), features=FEATURES).to_parquet(str(folder / "train.parquet"))
    stored, streamed = HubSource(str(folder)), HubSource(str(folder), streaming=True)
    assert streamed.block and not stored.block
    for name in ("train", "val"):
        one, two = stored.split(name), streamed.split(name)
        assert [s["label"] for s in one] == [s["label"] for s in two]
        assert [s["image"].read() for s in one] == [s["image"].read() for s in two]
    assert streamed.split("train")[0]["image"].read() == stored.split("train")[0]["image"].read()


def test_what_can_not_be_opened_is_said(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(ValueError, match=r"datasets cannot open data\.path="):
        HubSource(str(tmp_path / "photos"))


def test_a_shuffled_stream_reads_each_block_once(tmp_path, monkeypatch):
    monkeypatch.setattr("unimodal.data.sources.hub.BLOCK", 10)
    folder = tmp_path / "parquet"
    folder.mkdir()
    Dataset.from_dict(pictures(95), features=FEATURES).to_parquet(str(folder / "train.parquet"))
    samples = HubSource(str(folder), streaming=True).split("train")
    reads = []
    monkeypatch.setattr(StreamRows, "_read_block", _noting(StreamRows._read_block, reads))
    sampler = ResumableBatchSampler(len(samples), 4, seed=3, starts=samples.block_starts())
    for batch in sampler:
        for draw in batch:
            samples[draw.index]
    assert len(reads) <= 11


def _noting(read, reads):
    def _read(self, first):
        reads.append(first)
        read(self, first)

    return _read


def test_files_of_a_dataset_lie_under_its_own_folder(tmp_path):  # FAULTS 45
    rows = [{"image": {"path": "/etc/hostname", "bytes": None}, "label": i % 2} for i in range(20)]
    Dataset.from_list(rows).save_to_disk(tmp_path / "d")
    with pytest.raises(ValueError, match="lies outside"):
        HubSource(str(tmp_path / "d"))

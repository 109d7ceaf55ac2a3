"""Folds of cross-validation and groups by file names: properties on generated data."""

import json
import random
from collections import Counter

import datasets
import pytest

from unimodal.data.sources.folder import FolderSource
from unimodal.data.sources.hub import HubSource
from unimodal.data.sources.splits import make_folds, make_val
from unimodal.data.sources.table import TableSource

SPEAKER = r"_([a-z]+)_"


def generated(seed, grouped):
    rng = random.Random(seed)
    num, names = rng.randint(20, 200), "abcdefg"[: rng.randint(1, 7)]
    keys = [f"group {rng.randint(0, 11)}" if grouped else f"row {i}" for i in range(num)]
    return keys, [[rng.choice(names)] for _ in range(num)]


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("num_folds", [2, 5, 6])
def test_folds_partition_groups_whatever_the_order_of_the_samples(num_folds, grouped):
    for seed in range(20):
        keys, classes = generated(seed, grouped)
        folds = make_folds(keys, classes, num_folds, seed, grouped)
        assert set(folds) == set(range(num_folds))
        assert all(len({f for k, f in zip(keys, folds, strict=True) if k == key}) == 1 for key in keys)
        order = random.Random(seed).sample(range(len(keys)), len(keys))
        again = make_folds([keys[i] for i in order], [classes[i] for i in order], num_folds, seed, grouped)
        assert again == [folds[i] for i in order]


def test_each_class_and_the_whole_are_divided_evenly():
    for seed in range(20):
        keys, classes = generated(seed, grouped=False)
        folds = make_folds(keys, classes, 5, seed)
        for name in {names[0] for names in classes}:
            counts = Counter(f for f, names in zip(folds, classes, strict=True) if names == [name])
            sizes = [counts[fold] for fold in range(5)]
            assert max(sizes) - min(sizes) <= 1
        sizes = [Counter(folds)[fold] for fold in range(5)]
        assert max(sizes) - min(sizes) <= 1


def test_folds_of_several_classes_a_sample_and_of_none_are_about_even():
    rng = random.Random(0)
    classes = [[name for name in "abcd" if rng.random() < 0.4] for _ in range(400)]
    folds = make_folds([str(i) for i in range(400)], classes, 5)
    for name in "abcd":
        counts = Counter(f for f, names in zip(folds, classes, strict=True) if name in names)
        assert max(counts.values()) - min(counts.values()) <= 0.25 * sum(counts.values()) / 5
    assert set(Counter(make_folds([str(i) for i in range(50)], [[]] * 50, 5)).values()) == {10}


def test_as_many_folds_as_groups_leave_one_group_out():
    for sizes in ([10] * 6, [50, 1, 1, 7, 3, 20]):
        keys = [f"speaker {i}" for i, num in enumerate(sizes) for _ in range(num)]
        folds = make_folds(keys, [["ab"[i % 2]] for i in range(len(keys))], 6, grouped=True)
        assert len(set(zip(keys, folds, strict=True))) == 6 == len(set(folds))


def test_groups_of_one_class_are_spread_over_the_folds():
    keys = [f"patient {i}" for i in range(20) for _ in range(5)]
    classes = [["ill" if i < 10 else "well"] for i in range(20) for _ in range(5)]
    folds = make_folds(keys, classes, 5, grouped=True)
    assert set(Counter((names[0], fold) for names, fold in zip(classes, folds, strict=True)).values()) == {10}


def test_few_samples_change_folds_when_some_are_added():
    for seed in range(5):
        keys = [f"row {i}" for i in range(440)]
        classes = [["abcdefg"[i % 7]] for i in range(440)]
        after = make_folds(keys, classes, 5, seed)[:400]
        before = make_folds(keys[:400], classes[:400], 5, seed)
        assert sum(a != b for a, b in zip(before, after, strict=True)) < 0.15 * 400  # 80% if dealt anew


def test_another_seed_gives_other_folds():
    keys, classes = [f"row {i}" for i in range(60)], [["a"]] * 60
    assert make_folds(keys, classes, 5, 0) != make_folds(keys, classes, 5, 1)


def test_a_whole_group_is_held_out_where_there_is_one_to_spare():
    """Also where the rare class would hold out a group that another class cannot do without."""
    for seed in range(30):
        keys, classes = ["one"] * 30 + ["two"] * 10, [["rare"]] * 5 + [["only"]] * 25 + [["rare"]] * 10
        assert set(k for k, val in zip(keys, make_val(keys, classes, 0.1, seed), strict=True) if val) == {
            "two"
        }
        keys, classes = generated(seed, grouped=True)
        assert any(make_val(keys, classes, 0.01, seed))


@pytest.fixture
def spoken(tmp_path):
    """Text files called as FSDD's sounds: 2 classes, 4 speakers, 3 takes."""
    for label in "01":
        (tmp_path / "data" / label).mkdir(parents=True)
        for name in ("anna", "bert", "cora", "dirk"):
            for take in range(3):
                path = tmp_path / "data" / label / f"{label}_{name}_{take}.txt"
                path.write_text(f"{label} {name} {take}")
    return tmp_path / "data"


def speakers(source, split):
    return Counter(sample["text"].split()[1] for sample in map(_text, source.split(split)))


def _text(sample):
    text = sample["text"]
    return {"text": text if isinstance(text, str) else open(text.path).read()}


def test_speakers_of_file_names_stay_together(spoken):
    source = FolderSource(str(spoken), id_pattern=SPEAKER)
    val, train = speakers(source, "val"), speakers(source, "train")
    assert list(val.values()) == [6] and not val.keys() & train.keys() and len(train) == 3
    assert any(
        note == "val: 6 of 24 training samples, 1 of 4 groups, by a hash of their id (data.val_fraction=0.1, "
        "data.id_pattern)"
        for note in source.notes
    )
    assert len(speakers(FolderSource(str(spoken), id_pattern=SPEAKER, val_fraction=0.5), "val")) == 2


def test_folds_of_a_folder_validate_every_sample_once(spoken):
    seen = Counter()
    for fold in range(1, 5):
        source = FolderSource(str(spoken), id_pattern=SPEAKER, folds=4, fold=fold)
        val, train = speakers(source, "val"), speakers(source, "train")
        assert len(val) == 1 and not val.keys() & train.keys() and val.total() + train.total() == 24
        seen += val
    assert seen == dict.fromkeys(("anna", "bert", "cora", "dirk"), 6)


def test_a_table_and_a_dataset_have_the_folds_of_their_ids(tmp_path):
    rows = [{"text": f"t {i}", "label": "ab"[i % 2], "who": f"p{i % 6}"} for i in range(36)]
    (tmp_path / "d.jsonl").write_text("\n".join(map(json.dumps, rows)))
    datasets.disable_progress_bars()
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "saved")
    policy = {"columns": {"id": "who"}, "folds": 3}
    for fold in (1, 2, 3):
        table = TableSource(str(tmp_path / "d.jsonl"), fold=fold, **policy)
        hub = HubSource(str(tmp_path / "saved"), fold=fold, **policy)
        texts = [sample["text"] for sample in table.split("val")]
        assert texts == [sample["text"] for sample in hub.split("val")] and len(texts) == 12


def test_a_table_of_files_has_groups_by_their_names(spoken, tmp_path):
    files = sorted(path.relative_to(spoken).as_posix() for path in spoken.rglob("*.txt"))
    (spoken / "d.csv").write_text("\n".join(["file_name,label", *(f"{name},{name[0]}" for name in files)]))
    source = TableSource(str(spoken / "d.csv"), {"text": "file_name"}, id_pattern=SPEAKER)
    assert any("1 of 4 groups" in note for note in source.notes)


def test_a_given_validation_split_is_not_used_by_folds_and_a_line_says_so(tmp_path):
    rows = [f"text {i},{'ab'[i % 2]},{'val' if i < 4 else 'train'}" for i in range(24)]
    (tmp_path / "d.csv").write_text("\n".join(["text,label,split", *rows]))
    source = TableSource(str(tmp_path / "d.csv"), folds=2, fold=1)
    assert len(source.split("train")) == len(source.split("val")) == 10
    assert any("given validation split (4 samples) is not used" in note for note in source.notes)
    ignored = TableSource(str(tmp_path / "d.csv"), {"text": "text"}, id_pattern="x")
    assert any("data.id_pattern is not used" in note for note in ignored.notes)


def test_classes_that_a_side_lacks_are_named_and_all_folds_have_the_same_classes(tmp_path):
    rows = [f"text {i},{'ab'[i % 2] if i < 23 else 'rare'}" for i in range(24)]
    (tmp_path / "d.csv").write_text("\n".join(["text,label", *rows]))
    sources = [TableSource(str(tmp_path / "d.csv"), folds=2, fold=fold) for fold in (1, 2)]
    assert [source.class_names for source in sources] == [["a", "b", "rare"]] * 2
    notes = " ".join(note for source in sources for note in source.notes)
    assert "val has no sample of 1 classes: rare" in notes
    assert "train has no sample of 1 classes (rare): their samples in val count as errors" in notes


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"id_pattern": "_([0-9]+)_"}, r"_anna_0\.txt does not match data\.id_pattern=_\(\[0-9\]\+\)_"),
        ({"id_pattern": "("}, r"data\.id_pattern=\( is not a regular expression"),
        (
            {"id_pattern": SPEAKER, "folds": 5, "fold": 1},
            r"data\.folds=5 is more than the 4 groups.*data\.folds to 4",
        ),
        ({"folds": 25, "fold": 1}, r"data\.folds=25 is more than the 24 different samples"),
        ({"folds": 1}, r"data\.folds=1 is fewer than 2"),
        ({"folds": 3, "fold": 4}, r"data\.fold=4 is not between 1 and data\.folds=3"),
        ({"fold": 4}, r"data\.fold=4 is one part .* set data\.folds"),
        ({"folds": 3}, r"data\.folds=3 without data\.fold .* set data\.fold=K"),
    ],
)
def test_mistakes_are_named(spoken, policy, message):
    with pytest.raises(ValueError, match=message):
        FolderSource(str(spoken), **policy)


def test_a_column_and_a_pattern_exclude_each_other_and_a_pattern_needs_files(tmp_path):
    (tmp_path / "d.csv").write_text(
        "text,label,who\n" + "\n".join(f"t{i},{'ab'[i % 2]},{i}" for i in range(9))
    )
    with pytest.raises(ValueError, match="both say which samples belong together"):
        TableSource(str(tmp_path / "d.csv"), {"id": "who"}, id_pattern="x")
    with pytest.raises(ValueError, match=r"names no file, in which data\.id_pattern could be searched"):
        TableSource(str(tmp_path / "d.csv"), id_pattern="x")

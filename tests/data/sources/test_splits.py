import pytest

from unimodal.data.sources.splits import SplitNames, make_val, share_of


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("valid", "val"),
        ("dev", "val"),
        ("eval", "val"),
        ("TEST", "test"),
    ],
)
def test_usual_names_are_known(name, split):
    assert name in SplitNames()
    assert SplitNames().canonical(name, "x") == split


def test_an_unknown_name_is_refused_not_dropped():
    with pytest.raises(ValueError, match=r"x: 'holdout' is no known split.*data\.splits\.test=holdout"):
        SplitNames().canonical("holdout", "x")


def test_the_user_says_what_a_name_means():
    names = SplitNames({"val": "holdout", "train": None})
    assert names.canonical("holdout", "x") == "val"
    assert names.canonical("train", "x") == "train"
    with pytest.raises(ValueError, match="'dev' is no known split"):  # its place is taken
        names.canonical("dev", "x")


def test_a_misspelt_split_is_refused():
    with pytest.raises(ValueError, match=r"data\.splits\.valid is unknown"):
        SplitNames({"valid": "x"})


def rows(num, classes="ab"):
    return [f"row {i}" for i in range(num)], [[classes[i % len(classes)]] for i in range(num)]


@pytest.mark.parametrize("num", [30, 408, 4000])
@pytest.mark.parametrize("classes", ["ab", "abcdefg"])
def test_each_class_gives_its_share_to_within_a_tenth(num, classes):
    keys, strata = rows(num, classes)
    for seed in range(10):
        chosen = make_val(keys, strata, 0.1, seed)
        for name in classes:
            held = [c for c, s in zip(chosen, strata, strict=True) if s == [name]]
            wanted = max(round(0.1 * len(held)), 1)
            assert abs(sum(held) - wanted) <= wanted // 10


@pytest.mark.parametrize("num", [30, 408, 4000])
def test_samples_without_classes_give_their_share_to_within_a_tenth(num):
    for seed in range(10):
        held = sum(make_val([f"row {i}" for i in range(num)], [[]] * num, 0.1, seed))
        assert abs(held - round(0.1 * num)) <= round(0.1 * num) // 10


def test_with_several_classes_a_sample_each_class_gives_about_its_share():
    keys = [f"row {i}" for i in range(600)]
    classes = [[name for place, name in enumerate("abcd") if i % (place + 2) == 0] for i in range(600)]
    for seed in range(10):
        chosen = make_val(keys, classes, 0.1, seed)
        for name in "abcd":
            held = [c for c, s in zip(chosen, classes, strict=True) if name in s]
            assert 0.08 < sum(held) / len(held) < 0.12


def test_ids_with_many_rows_count_as_many_rows():
    keys = [f"patient {i}" for i in range(60) for _ in range(1 + i % 8)]
    for seed in range(10):
        held = make_val(keys, [["a"]] * len(keys), 0.2, seed)
        assert 0.17 < sum(held) / len(held) < 0.23


def test_no_sample_moves_when_rows_are_shuffled():  # FAULTS 42
    keys, strata = rows(200)
    before = dict(zip(keys, make_val(keys, strata, 0.2), strict=True))
    assert before == dict(zip(keys[::-1], make_val(keys[::-1], strata[::-1], 0.2), strict=True))


@pytest.mark.parametrize(("num", "classes", "most"), [(408, "abcdefg", 0.02), (20_000, "ab", 0.001)])
def test_hardly_a_sample_moves_when_rows_are_added(num, classes, most):  # FAULTS 42
    for seed in range(5):
        keys, strata = rows(num, classes)
        before = make_val(keys, strata, 0.1, seed)
        after = make_val(*rows(num + num // 10, classes), 0.1, seed)[:num]
        assert sum(a != b for a, b in zip(before, after, strict=True)) <= most * num


def test_the_same_content_is_on_one_side():
    keys, strata = ["same"] * 50 + [f"row {i}" for i in range(50)], [["a"]] * 100
    assert len(set(make_val(keys, strata, 0.3)[:50])) == 1


@pytest.mark.parametrize("num", [2, 3, 5])
def test_a_small_class_is_on_both_sides(num):
    for seed in range(20):
        chosen = make_val([str(i) for i in range(num)], [["a"]] * num, 0.1, seed)
        assert 0 < sum(chosen) < num


def test_a_class_of_one_stays_in_training():  # FAULTS 40
    for seed in range(20):
        assert not any(make_val(["a", "b", "c"], [["x"], ["y"], ["z"]], 0.5, seed))


def test_rows_with_one_id_stay_together_also_in_rare_classes():
    keys = [f"patient {i % 12}" for i in range(60)]
    classes = [["rare" if i % 12 < 2 and i < 24 else "common"] for i in range(60)]
    for seed in range(30):
        chosen = make_val(keys, classes, 0.1, seed)
        sides = {key: {c for k, c in zip(keys, chosen, strict=True) if k == key} for key in keys}
        assert all(len(side) == 1 for side in sides.values())


def test_no_class_goes_to_val_as_a_whole_with_several_classes_a_sample():
    keys = [str(i) for i in range(200)]
    classes = [["common", f"rare {i % 60}"] for i in range(200)]
    for seed in range(10):
        chosen = make_val(keys, classes, 0.1, seed)
        trained = {name for names, val in zip(classes, chosen, strict=True) if not val for name in names}
        assert trained == {name for names in classes for name in names} and any(chosen)


@pytest.mark.parametrize("fraction", [0, 1, 1.5])
def test_the_share_must_leave_both_sides(fraction):
    with pytest.raises(ValueError, match=f"data.val_fraction={fraction}"):
        make_val(["a"], [["x"]], fraction)


def test_a_smaller_share_is_part_of_a_larger_one():
    keys = [f"row {i}" for i in range(2000)]
    some, more = share_of(keys, 0.1), share_of(keys, 0.4)
    assert all(b for a, b in zip(some, more, strict=True) if a)
    assert 150 < sum(some) < 250 and 700 < sum(more) < 900
    assert all(share_of(keys, 1.0)) and share_of(keys, 0.1, seed=1) != some


def test_the_share_does_not_depend_on_what_went_to_val():
    keys = [f"row {i}" for i in range(4000)]
    val = make_val(keys, [["a"]] * len(keys), 0.5)
    kept = [key for key, held in zip(keys, val, strict=True) if not held]
    assert 0.17 < sum(share_of(kept, 0.2)) / len(kept) < 0.23

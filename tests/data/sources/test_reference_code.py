from unimodal.data.sources.reference_code import ReferenceCode, unmarked


def tagged(paragraph):
    sample = unmarked(paragraph)
    return [(sample["text"][start:end], tag) for start, end, tag in sample["spans"]]


def test_marks_become_tags_and_are_taken_out():
    assert tagged('If *end* is "None", see "x <= y".') == [
        ("If", "O"),
        ("end", "B-TERM"),
        ("is", "O"),
        ("None,", "B-CODE"),
        ("see", "O"),
        ("x", "B-CODE"),
        ("<=", "I-CODE"),
        ("y.", "I-CODE"),
    ]


def test_a_mark_within_a_word_tags_the_word_and_one_after_another_begins_anew():
    assert tagged('("a b") "c" "d"') == [("(a", "B-CODE"), ("b)", "I-CODE"), ("c", "B-CODE"), ("d", "B-CODE")]


def test_asterisks_of_code_are_no_marks():
    assert {tag for _, tag in tagged("a * b * c and **kwargs, *args")} == {"O"}


def test_paragraphs_stand_once_and_their_splits_are_apart():
    source = ReferenceCode()
    texts = {name: [sample["text"] for sample in source.split(name)] for name in ("train", "val")}
    assert len(set(texts["train"]) | set(texts["val"])) == len(texts["train"]) + len(texts["val"]) > 500
    assert 0.1 < len(texts["val"]) / len(texts["train"]) < 0.4


def test_words_are_what_stands_between_spaces_and_every_tag_occurs():
    source, seen = ReferenceCode(), set()
    for sample in source.split("train"):
        assert [sample["text"][start:end] for start, end, _ in sample["spans"]] == sample["text"].split()
        seen |= {tag for _, _, tag in sample["spans"]}
    assert seen == set(source.region_names)
    assert not any('"' in sample["text"] for sample in source.split("train"))


def test_the_same_words_are_code_here_and_prose_there():
    tags = {}
    for sample in ReferenceCode().split("train"):
        for start, end, tag in sample["spans"]:
            tags.setdefault(sample["text"][start:end], set()).add(tag[-4:])
    assert sum({"O", "CODE"} <= seen for seen in tags.values()) > 30

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from unimodal.data.sources.base import Source
from unimodal.data.sources.digits import Digits
from unimodal.data.vocabulary import (
    EOS,
    bpe_vocabulary,
    byte_vocabulary,
    character_vocabulary,
    letter_vocabulary,
    pretrained_vocabulary,
)
from unimodal.tokenizers.text import TextPreprocess

TRAINING = ["the cat sat on the mat", "the dog sat on the log, the cat did not", "und die Maus auf dem Haus"]
UNSEEN = "naïve “quotes” e\u0301 \U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 \t\n<|endoftext|>你好"


class Texts(Source):
    """Three texts to train on; validation holds others."""

    class_names = ()

    def split(self, name):
        return [{"text": text} for text in (TRAINING if name == "train" else [UNSEEN])]


BUILDERS = [byte_vocabulary, lambda source: bpe_vocabulary(source, 300), character_vocabulary]


def preprocess_of(vocabulary):
    return TextPreprocess(vocabulary["tokenizer"], vocabulary["eos_token"], max_len=100)


def word_level(*special):
    vocab = {word: i for i, word in enumerate(["[UNK]", "the", "cat", *special])}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(list(special))
    return tokenizer


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize("text", [*TRAINING, UNSEEN, "", " ", "\n\n"])
def test_every_text_comes_back_as_it_was(build, text):
    preprocess = preprocess_of(build(Texts()))
    assert preprocess.decode(preprocess.encode(text).ids) == text


@pytest.mark.parametrize("build", BUILDERS)
def test_the_end_of_text_is_one_id_that_no_text_contains(build):
    preprocess = preprocess_of(build(Texts()))
    assert preprocess.eos_id == preprocess.fast.get_vocab_size() - 1
    assert preprocess.eos_id not in preprocess.encode(f"a {EOS} b").ids


@pytest.mark.parametrize("build", BUILDERS)
def test_a_vocabulary_is_the_same_each_time(build):
    assert build(Texts()) == build(Texts())


def test_the_byte_vocabulary_has_one_id_a_byte():
    preprocess = preprocess_of(byte_vocabulary(Texts()))
    assert preprocess.fast.get_vocab_size() == 257
    assert len(preprocess.encode(UNSEEN).ids) == len(UNSEEN.encode())


@pytest.mark.parametrize("vocab_size", [257, 258, 280])
def test_bpe_has_the_size_that_was_asked_for(vocab_size):
    assert preprocess_of(bpe_vocabulary(Texts(), vocab_size)).fast.get_vocab_size() == vocab_size


def test_bpe_of_the_smallest_size_writes_bytes():
    assert len(preprocess_of(bpe_vocabulary(Texts(), 257)).encode("the cat").ids) == 7


def test_bpe_shortens_what_it_was_trained_on():
    preprocess = preprocess_of(bpe_vocabulary(Texts(), 300))
    assert len(preprocess.encode(TRAINING[0]).ids) < len(TRAINING[0]) / 2


def test_bpe_below_the_bytes_is_refused():
    with pytest.raises(ValueError, match=r"tokenizer\.vocabulary\.vocab_size=256 must be at least 257"):
        bpe_vocabulary(Texts(), 256)


def test_characters_of_the_training_text_are_one_id_each():
    preprocess = preprocess_of(character_vocabulary(Texts()))
    assert preprocess.fast.get_vocab_size() == 256 + len(set("".join(TRAINING))) + 1
    assert len(preprocess.encode(TRAINING[1]).ids) == len(TRAINING[1])


def test_a_character_outside_the_vocabulary_is_written_as_its_bytes():  # FAULTS 34
    preprocess = preprocess_of(character_vocabulary(Texts()))
    for character in ("é", "“", "\U0001f600", "\u0301"):
        ids = preprocess.encode(character).ids
        assert [preprocess.fast.id_to_token(i) for i in ids] == [f"<0x{b:02X}>" for b in character.encode()]


@pytest.mark.parametrize("lower_case", [False, True])
def test_letters_are_those_of_the_training_text_and_no_more(lower_case):
    preprocess = preprocess_of(letter_vocabulary(Texts(), lower_case))
    text = TRAINING[2].lower() if lower_case else TRAINING[2]
    letters = set("".join(TRAINING).lower() if lower_case else "".join(TRAINING))
    assert preprocess.fast.get_vocab_size() == len(letters) + 2
    assert preprocess.decode(preprocess.encode(f" {TRAINING[2]}\n".replace(" ", "  ")).ids) == text
    assert preprocess.decode(preprocess.encode(text + "?" + EOS).ids).startswith(text + "\ufffd")


@pytest.mark.parametrize("build", BUILDERS[1:])
def test_only_the_training_texts_are_read(build):
    class NoValidation(Texts):
        def split(self, name):
            assert name == "train"
            return super().split(name)

    build(NoValidation())


@pytest.mark.parametrize("build", BUILDERS[1:])
def test_data_without_text_is_named(build):
    with pytest.raises(ValueError, match=r"the samples have no .text.; they have image, label"):
        build(Digits())


def test_a_saved_tokenizer_is_read_with_its_end_of_text(tmp_path):
    PreTrainedTokenizerFast(tokenizer_object=word_level("<end>"), eos_token="<end>").save_pretrained(tmp_path)
    preprocess = preprocess_of(pretrained_vocabulary(None, str(tmp_path)))
    assert preprocess.eos_token == "<end>"
    assert preprocess.encode("the cat the dog").ids == [1, 2, 1, 0]


def test_a_separator_stands_in_for_the_end_of_text(tmp_path):
    PreTrainedTokenizerFast(tokenizer_object=word_level("[SEP]"), sep_token="[SEP]").save_pretrained(tmp_path)
    assert pretrained_vocabulary(None, str(tmp_path))["eos_token"] == "[SEP]"


def test_a_tokenizer_file_is_read(tmp_path):
    path = tmp_path / "tokenizer.json"
    word_level("<end>").save(str(path))
    preprocess = preprocess_of(pretrained_vocabulary(None, str(path), eos_token="<end>"))
    assert preprocess.eos_id == 3
    assert preprocess.encode("cat the").ids == [2, 1]


def test_the_named_end_of_text_beats_the_tokenizers_own(tmp_path):
    stock = PreTrainedTokenizerFast(tokenizer_object=word_level("<end>", "<stop>"), eos_token="<end>")
    stock.save_pretrained(tmp_path)
    assert pretrained_vocabulary(None, str(tmp_path), eos_token="<stop>")["eos_token"] == "<stop>"


@pytest.mark.parametrize("eos_token", [None, "<nowhere>"])
def test_a_tokenizer_without_end_of_text_names_the_knob(tmp_path, eos_token):
    word_level().save(str(tmp_path / "tokenizer.json"))
    PreTrainedTokenizerFast(tokenizer_object=word_level()).save_pretrained(tmp_path / "folder")
    for path in (tmp_path / "tokenizer.json", tmp_path / "folder"):
        with pytest.raises(ValueError, match=r"tokenizer\.vocabulary\.eos_token"):
            pretrained_vocabulary(None, str(path), eos_token)
